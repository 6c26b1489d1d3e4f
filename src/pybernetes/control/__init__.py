"""What every controller is made of: work queue, controller loop, events, leases, owners."""

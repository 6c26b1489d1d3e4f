"""The vocabulary of the API, pure: objects, errors, schema, the resource table, kinds, patches, columns. No I/O."""

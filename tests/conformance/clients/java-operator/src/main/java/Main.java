// An operator by the Java Operator SDK (on fabric8): it says a greeting in a ConfigMap of its own, with a finalizer, a
// status that is applied, a lease, and an informer on what it made. The argument is the namespace of its lease.

import io.fabric8.kubernetes.api.model.ConfigMap;
import io.fabric8.kubernetes.api.model.ConfigMapBuilder;
import io.fabric8.kubernetes.api.model.Namespaced;
import io.fabric8.kubernetes.api.model.ObjectMetaBuilder;
import io.fabric8.kubernetes.client.CustomResource;
import io.fabric8.kubernetes.model.annotation.Group;
import io.fabric8.kubernetes.model.annotation.Kind;
import io.fabric8.kubernetes.model.annotation.Plural;
import io.fabric8.kubernetes.model.annotation.Singular;
import io.fabric8.kubernetes.model.annotation.Version;
import io.javaoperatorsdk.operator.Operator;
import io.javaoperatorsdk.operator.api.config.LeaderElectionConfiguration;
import io.javaoperatorsdk.operator.api.config.informer.InformerEventSourceConfiguration;
import io.javaoperatorsdk.operator.api.reconciler.Cleaner;
import io.javaoperatorsdk.operator.api.reconciler.Context;
import io.javaoperatorsdk.operator.api.reconciler.ControllerConfiguration;
import io.javaoperatorsdk.operator.api.reconciler.DeleteControl;
import io.javaoperatorsdk.operator.api.reconciler.EventSourceContext;
import io.javaoperatorsdk.operator.api.reconciler.Reconciler;
import io.javaoperatorsdk.operator.api.reconciler.UpdateControl;
import io.javaoperatorsdk.operator.processing.event.source.EventSource;
import io.javaoperatorsdk.operator.processing.event.source.informer.InformerEventSource;
import java.util.List;

public class Main {
  public static class Spec {
    public String whom;
  }

  public static class Status {
    public String said;
  }

  @Group("java.example.com")
  @Version("v1")
  @Kind("Greeting")
  @Plural("greetings")
  @Singular("greeting")
  public static class Greeting extends CustomResource<Spec, Status> implements Namespaced {}

  @ControllerConfiguration(name = "greeter")
  public static class Greeter implements Reconciler<Greeting>, Cleaner<Greeting> {
    @Override
    public List<EventSource<?, Greeting>> prepareEventSources(EventSourceContext<Greeting> context) {
      var maps = InformerEventSourceConfiguration.from(ConfigMap.class, Greeting.class).build();
      return List.of(new InformerEventSource<>(maps, context));
    }

    @Override
    public UpdateControl<Greeting> reconcile(Greeting greeting, Context<Greeting> context) {
      var said = "Hello " + greeting.getSpec().whom;
      var name = new ObjectMetaBuilder()
          .withName(greeting.getMetadata().getName())
          .withNamespace(greeting.getMetadata().getNamespace());
      var there = context.getSecondaryResource(ConfigMap.class);
      if (there.isEmpty() || !said.equals(there.get().getData().get("said"))) {
        var map = new ConfigMapBuilder().withMetadata(name.build()).addToData("said", said).build();
        map.addOwnerReference(greeting);
        context.getClient().resource(map).fieldManager("greeter").forceConflicts().serverSideApply();
        System.out.println("greeted " + greeting.getMetadata().getName());
      }
      var told = new Greeting();
      told.setMetadata(name.build());
      told.setStatus(new Status());
      told.getStatus().said = said;
      return UpdateControl.patchStatus(told);
    }

    @Override
    public DeleteControl cleanup(Greeting greeting, Context<Greeting> context) {
      System.out.println("forgotten " + greeting.getMetadata().getName());
      return DeleteControl.defaultDelete();
    }
  }

  public static void main(String[] args) throws InterruptedException {
    var lease = new LeaderElectionConfiguration("greeter", args[0]);
    var operator = new Operator(options -> options.withLeaderElectionConfiguration(lease));
    operator.register(new Greeter());
    operator.start();
    System.out.println("started");
    Thread.currentThread().join();
  }
}

import io.kubernetes.client.custom.V1Patch;
import io.kubernetes.client.informer.ResourceEventHandler;
import io.kubernetes.client.informer.SharedInformerFactory;
import io.kubernetes.client.openapi.ApiClient;
import io.kubernetes.client.openapi.ApiException;
import io.kubernetes.client.openapi.apis.CoreV1Api;
import io.kubernetes.client.openapi.models.V1ConfigMap;
import io.kubernetes.client.openapi.models.V1ConfigMapList;
import io.kubernetes.client.util.CallGeneratorParams;
import io.kubernetes.client.util.Config;
import io.kubernetes.client.util.PatchUtils;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/** An informer and server-side apply with the official Java client; each line that is printed is checked by the test. */
public final class Main {
  private static final String NAME = "from-java";
  private static final BlockingQueue<String> EVENTS = new LinkedBlockingQueue<>();

  public static void main(String[] arguments) throws Exception {
    ApiClient client = Config.fromConfig(arguments[0]);
    client.setReadTimeout(0);
    String namespace = arguments[1];
    CoreV1Api core = new CoreV1Api(client);
    SharedInformerFactory factory = new SharedInformerFactory(client);
    var informer = factory.sharedIndexInformerFor(
        (CallGeneratorParams params) -> core.listNamespacedConfigMap(namespace)
            .labelSelector("client=java")
            .resourceVersion(params.resourceVersion)
            .timeoutSeconds(params.timeoutSeconds)
            .watch(params.watch)
            .buildCall(null),
        V1ConfigMap.class, V1ConfigMapList.class);
    informer.addEventHandler(new ResourceEventHandler<V1ConfigMap>() {
      @Override public void onAdd(V1ConfigMap map) { EVENTS.add("added " + show(map)); }
      @Override public void onUpdate(V1ConfigMap old, V1ConfigMap map) { EVENTS.add("updated " + show(map)); }
      @Override public void onDelete(V1ConfigMap map, boolean unknown) { EVENTS.add("deleted " + show(map)); }
    });
    factory.startAllRegisteredInformers();
    for (int i = 0; !informer.hasSynced(); i++) {
      if (i > 600) throw new IllegalStateException("not synced in 30 s");
      Thread.sleep(50);
    }
    System.out.println("synced");

    apply(core, client, namespace, "java", "1");
    System.out.println(next());
    apply(core, client, namespace, "java", "2");
    System.out.println(next());
    try {
      apply(core, client, namespace, "another", "3");
      throw new IllegalStateException("no conflict");
    } catch (ApiException error) {
      if (error.getCode() != 409) throw error;
      System.out.println("conflict");
    }
    core.deleteNamespacedConfigMap(NAME, namespace).execute();
    System.out.println(next());
    factory.stopAllRegisteredInformers();
    System.exit(0);
  }

  private static void apply(CoreV1Api core, ApiClient client, String namespace, String manager, String value)
      throws ApiException {
    String body = """
        {"apiVersion": "v1", "kind": "ConfigMap",
         "metadata": {"name": "%s", "labels": {"client": "java"}}, "data": {"value": "%s"}}
        """.formatted(NAME, value);
    PatchUtils.patch(V1ConfigMap.class,
        () -> core.patchNamespacedConfigMap(NAME, namespace, new V1Patch(body)).fieldManager(manager).buildCall(null),
        V1Patch.PATCH_FORMAT_APPLY_YAML, client);
  }

  private static String next() throws InterruptedException {
    String event = EVENTS.poll(30, TimeUnit.SECONDS);
    if (event == null) throw new IllegalStateException("no event in 30 s");
    return event;
  }

  private static String show(V1ConfigMap map) {
    return map.getMetadata().getName() + " " + map.getData().get("value");
  }
}

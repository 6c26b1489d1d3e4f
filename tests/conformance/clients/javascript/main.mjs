// An informer and server-side apply with the official JavaScript client; each line that is printed is checked by the test.
import * as k8s from '@kubernetes/client-node';

const [, , kubeconfig, namespace] = process.argv;
const name = 'from-javascript';
const config = new k8s.KubeConfig();
config.loadFromFile(kubeconfig);
const core = config.makeApiClient(k8s.CoreV1Api);
const labelSelector = 'client=javascript';

const waiting = [];
const events = [];
function tell(text) {
  const waiter = waiting.shift();
  if (waiter) waiter(text);
  else events.push(text);
}
function next() {
  if (events.length) return Promise.resolve(events.shift());
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('no event in 30 s')), 30_000);
    waiting.push((text) => { clearTimeout(timer); resolve(text); });
  });
}
const show = (map) => `${map.metadata.name} ${map.data.value}`;

const informer = k8s.makeInformer(
  config,
  `/api/v1/namespaces/${namespace}/configmaps`,
  () => core.listNamespacedConfigMap({ namespace, labelSelector }),
  labelSelector,
);
informer.on('add', (map) => tell(`added ${show(map)}`));
informer.on('update', (map) => tell(`updated ${show(map)}`));
informer.on('delete', (map) => tell(`deleted ${show(map)}`));
let stopping = false;
informer.on('error', (error) => {
  if (stopping) return; // ending the watch is told as an error too
  console.error(error);
  process.exit(1);
});
await informer.start();
console.log('synced');

const options = k8s.setHeaderOptions('Content-Type', k8s.PatchStrategy.ServerSideApply);
const apply = (fieldManager, value) => core.patchNamespacedConfigMap({
  name,
  namespace,
  fieldManager,
  body: { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, labels: { client: 'javascript' } }, data: { value } },
}, options);

await apply('javascript', '1');
console.log(await next());
await apply('javascript', '2');
console.log(await next());
try {
  await apply('another', '3');
  throw new Error('no conflict');
} catch (error) {
  if (error.code !== 409) throw error;
  console.log('conflict');
}
await core.deleteNamespacedConfigMap({ name, namespace });
console.log(await next());
stopping = true;
await informer.stop();
process.exit(0);

// A client that sends and takes nothing but protobuf: objects, pages, informers, watches, patches, reviews, errors.
// What it reads is compared with what the same client reads as JSON; each line that is printed is checked by the test.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"os"
	"slices"
	"sort"
	"strings"
	"time"

	openapi_v3 "github.com/google/gnostic-models/openapiv3"
	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/proto"
	apidiscovery "k8s.io/api/apidiscovery/v2"
	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	corev1apply "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/openapi"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

const protobuf = "application/vnd.kubernetes.protobuf"

var (
	ctx       context.Context
	namespace string
	client    *kubernetes.Clientset
	texts     *kubernetes.Clientset
)

// strict fails when an answer is no protobuf.
type strict struct{ http.RoundTripper }

func (s strict) RoundTrip(request *http.Request) (*http.Response, error) {
	answer, err := s.RoundTripper.RoundTrip(request)
	if err == nil {
		kind, _, _ := mime.ParseMediaType(answer.Header.Get("Content-Type"))
		if kind != protobuf && kind != gnostic && answer.StatusCode != http.StatusNotAcceptable { // what has no such form says so in JSON
			panic(fmt.Sprintf("%s %s: %d %s", request.Method, request.URL, answer.StatusCode, kind))
		}
	}
	return answer, err
}

func main() {
	config, err := clientcmd.BuildConfigFromFlags("", os.Args[1])
	check(err)
	namespace = os.Args[2]
	config.QPS, config.Burst = 200, 200
	texts = kubernetes.NewForConfigOrDie(config)
	config = rest.CopyConfig(config)
	config.ContentType, config.AcceptContentTypes = protobuf, protobuf
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return strict{next} })
	client = kubernetes.NewForConfigOrDie(config)
	var cancel context.CancelFunc
	ctx, cancel = context.WithTimeout(context.Background(), 100*time.Second)
	defer cancel()

	objects()
	pages()
	informer()
	watched()
	workloads()
	pods()
	reviews()
	failures()
	metadata()
	discovered()
	everything()
	custom()
	described()
}

// objects are made, read, changed, applied and deleted.
func objects() {
	secrets := client.CoreV1().Secrets(namespace)
	data := map[string][]byte{"empty": {}, "bytes": {0, 1, 255}}
	made, err := secrets.Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "s"}, Data: data}, metav1.CreateOptions{})
	check(err)
	same("secret", made.Data, data)
	read, err := secrets.Get(ctx, "s", metav1.GetOptions{})
	check(err)
	same("read", read, made)
	read.Labels = map[string]string{"b": "", "a": "1"}
	changed, err := secrets.Update(ctx, read, metav1.UpdateOptions{})
	check(err)
	same("changed", changed.Labels, read.Labels)
	patched, err := secrets.Patch(ctx, "s", types.StrategicMergePatchType, []byte(`{"data":{"bytes":null}}`), metav1.PatchOptions{})
	check(err)
	same("patched", patched.Data, map[string][]byte{"empty": {}})
	applied, err := client.CoreV1().ConfigMaps(namespace).Apply(ctx, corev1apply.ConfigMap("m", namespace).
		WithData(map[string]string{"k": "€"}), metav1.ApplyOptions{FieldManager: "go"})
	check(err)
	same("applied", applied.Data, map[string]string{"k": "€"})
	same("fields", string(applied.ManagedFields[0].FieldsV1.Raw), `{"f:data":{"f:k":{}}}`)
	asText, err := texts.CoreV1().ConfigMaps(namespace).Get(ctx, "m", metav1.GetOptions{})
	check(err)
	same("as JSON", applied, asText)
	wrong := types.UID("another")
	err = secrets.Delete(ctx, "s", metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &wrong}})
	expect(errors.IsConflict(err), "a conflict", err)
	check(secrets.Delete(ctx, "s", *metav1.NewPreconditionDeleteOptions(string(patched.UID))))
	_, err = secrets.Get(ctx, "s", metav1.GetOptions{})
	expect(errors.IsNotFound(err), "none", err)
	fmt.Println("objects")
}

func pages() {
	maps := client.CoreV1().ConfigMaps(namespace)
	for number := range 7 {
		_, err := maps.Create(ctx, configMap(fmt.Sprint("page-", number), "pages"), metav1.CreateOptions{})
		check(err)
	}
	options := metav1.ListOptions{LabelSelector: "of=pages", Limit: 3}
	var names, sizes []string
	for {
		page, err := maps.List(ctx, options)
		check(err)
		for _, one := range page.Items {
			names = append(names, one.Name)
		}
		sizes = append(sizes, fmt.Sprint(len(page.Items)))
		if options.Continue = page.Continue; options.Continue == "" {
			break
		}
	}
	check(maps.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: "of=pages"}))
	fmt.Println("pages", strings.Join(sizes, " "), names[0], names[len(names)-1])
}

func configMap(name, of string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"of": of}}}
}

func informer() {
	events := make(chan string, 100)
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(namespace),
		informers.WithTweakListOptions(func(o *metav1.ListOptions) { o.LabelSelector = "of=informer" }))
	found := factory.Core().V1().ConfigMaps().Informer()
	show := func(kind string, obj any) { events <- kind + " " + obj.(*corev1.ConfigMap).Data["value"] }
	_, err := found.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { show("added", obj) },
		UpdateFunc: func(_, obj any) { show("updated", obj) },
		DeleteFunc: func(obj any) { show("deleted", obj) },
	})
	check(err)
	maps := client.CoreV1().ConfigMaps(namespace)
	made, err := maps.Create(ctx, configMap("informer", "informer"), metav1.CreateOptions{})
	check(err)
	stop := make(chan struct{})
	factory.Start(stop)
	expect(cache.WaitForCacheSync(ctx.Done(), found.HasSynced), "synced", nil)
	told := []string{<-events}
	made.Data = map[string]string{"value": "1"}
	_, err = maps.Update(ctx, made, metav1.UpdateOptions{})
	check(err)
	told = append(told, <-events)
	check(maps.Delete(ctx, "informer", metav1.DeleteOptions{}))
	told = append(told, <-events)
	close(stop)
	factory.Shutdown()
	fmt.Println("informer:", strings.Join(told, ", "))
}

// watched is a WatchList with its bookmark.
func watched() {
	maps := client.CoreV1().ConfigMaps(namespace)
	yes := true
	_, err := maps.Create(ctx, configMap("watched", "watch"), metav1.CreateOptions{})
	check(err)
	stream, err := maps.Watch(ctx, metav1.ListOptions{LabelSelector: "of=watch", SendInitialEvents: &yes,
		ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan, AllowWatchBookmarks: true})
	check(err)
	defer stream.Stop()
	var told []string
	next := func() runtime.Object {
		event := <-stream.ResultChan()
		told = append(told, string(event.Type))
		return event.Object
	}
	next()
	mark := next().(*corev1.ConfigMap)
	same("mark", mark.Annotations[metav1.InitialEventsAnnotationKey], "true")
	expect(mark.ResourceVersion != "", "a revision", nil)
	check(maps.Delete(ctx, "watched", metav1.DeleteOptions{}))
	next()
	fmt.Println("watch:", strings.Join(told, " "))
}

func workloads() {
	deployments := client.AppsV1().Deployments(namespace)
	labels := map[string]string{"app": "none"}
	zero, surge := int32(0), intstr.FromString("25%")
	wanted := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "d"}, Spec: appsv1.DeploymentSpec{
		Replicas: &zero, Selector: &metav1.LabelSelector{MatchLabels: labels},
		Strategy: appsv1.DeploymentStrategy{RollingUpdate: &appsv1.RollingUpdateDeployment{MaxSurge: &surge}},
		Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: podSpec()},
	}}
	made, err := deployments.Create(ctx, wanted, metav1.CreateOptions{})
	check(err)
	same("surge", made.Spec.Strategy.RollingUpdate.MaxSurge.StrVal, "25%")
	same("unavailable", made.Spec.Strategy.RollingUpdate.MaxUnavailable.StrVal, "25%")
	same("port", made.Spec.Template.Spec.Containers[0].LivenessProbe.HTTPGet.Port.IntValue(), 80)
	scale, err := deployments.GetScale(ctx, "d", metav1.GetOptions{})
	check(err)
	same("selector", scale.Status.Selector, "app=none")
	scale.ResourceVersion = "" // its controller writes beside us
	_, err = deployments.UpdateScale(ctx, "d", scale, metav1.UpdateOptions{})
	check(err)
	check(deployments.Delete(ctx, "d", metav1.DeleteOptions{}))
	fmt.Println("workloads")
}

func podSpec() corev1.PodSpec {
	no := false
	return corev1.PodSpec{
		SchedulerName:                "nobody",
		AutomountServiceAccountToken: &no,
		Containers: []corev1.Container{{
			Name: "c", Image: "host",
			Resources:     corev1.ResourceRequirements{Requests: corev1.ResourceList{"cpu": resource.MustParse("0.5"), "memory": resource.MustParse("1Gi")}},
			LivenessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Port: intstr.FromInt32(80)}}},
			Env:           []corev1.EnvVar{{Name: "e"}, {Name: "f", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name"}}}},
		}},
		Volumes: []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}},
	}
}

func pods() {
	pods := client.CoreV1().Pods(namespace)
	for _, name := range []string{"bound", "evicted"} {
		made, err := pods.Create(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: podSpec()}, metav1.CreateOptions{})
		check(err)
		same("cpu", made.Spec.Containers[0].Resources.Requests.Cpu().MilliValue(), int64(500))
		asText, err := texts.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
		check(err)
		same("as JSON", made, asText)
	}
	now := metav1.NewTime(time.Unix(1_700_000_000, 0))
	change := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "bound"}, Status: corev1.PodStatus{Phase: corev1.PodPending, StartTime: &now}}
	changed, err := pods.UpdateStatus(ctx, change, metav1.UpdateOptions{})
	check(err)
	expect(changed.Status.StartTime.Equal(&now), "a time", nil)
	target := corev1.ObjectReference{Kind: "Node", Name: "no-such-node"}
	check(pods.Bind(ctx, &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Name: "bound"}, Target: target}, metav1.CreateOptions{}))
	check(pods.EvictV1(ctx, &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: "evicted"}}))
	grace := int64(0)
	check(pods.Delete(ctx, "bound", metav1.DeleteOptions{GracePeriodSeconds: &grace}))
	fmt.Println("pods")
}

func reviews() {
	seconds := int64(600)
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}
	issued, err := client.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, "default", request, metav1.CreateOptions{})
	check(err)
	expect(time.Until(issued.Status.ExpirationTimestamp.Time) > time.Minute, "a time to live", nil)
	token := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: issued.Status.Token}}
	known, err := client.AuthenticationV1().TokenReviews().Create(ctx, token, metav1.CreateOptions{})
	check(err)
	same("user", known.Status.User.Username, "system:serviceaccount:"+namespace+":default")
	asked := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: "nobody", Extra: map[string]authorizationv1.ExtraValue{"k": {"v", ""}},
		ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "get", Resource: "pods"}}}
	answer, err := client.AuthorizationV1().SubjectAccessReviews().Create(ctx, asked, metav1.CreateOptions{})
	check(err)
	same("extra", answer.Spec.Extra, asked.Spec.Extra)
	expect(!answer.Status.Allowed, "refused", nil)
	self, err := client.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	check(err)
	expect(self.Status.UserInfo.Username != "", "a name", nil)
	fmt.Println("reviews")
}

func failures() {
	maps := client.CoreV1().ConfigMaps(namespace)
	made, err := maps.Create(ctx, configMap("failures", "failures"), metav1.CreateOptions{})
	check(err)
	_, err = maps.Create(ctx, configMap("failures", "failures"), metav1.CreateOptions{})
	expect(errors.IsAlreadyExists(err), "there already", err)
	made.ResourceVersion = "1"
	_, err = maps.Update(ctx, made, metav1.UpdateOptions{})
	expect(errors.IsConflict(err), "a conflict", err)
	_, err = client.CoreV1().Services(namespace).Create(ctx, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "X"}}, metav1.CreateOptions{})
	expect(errors.IsInvalid(err), "invalid", err)
	causes := err.(*errors.StatusError).ErrStatus.Details.Causes
	fields := []string{}
	for _, cause := range causes {
		fields = append(fields, cause.Field)
	}
	sort.Strings(fields)
	fmt.Println("failures:", strings.Join(fields, " "))
}

// metadata of objects is asked for in protobuf; a Table is not to be had.
func metadata() {
	as := func(kind string) *rest.Request {
		return client.CoreV1().RESTClient().Get().Namespace(namespace).Resource("configmaps").
			SetHeader("Accept", protobuf+";as="+kind+";g=meta.k8s.io;v=v1")
	}
	list := &metav1.PartialObjectMetadataList{}
	check(as("PartialObjectMetadataList").Do(ctx).Into(list))
	names := []string{}
	for _, one := range list.Items {
		names = append(names, one.Name)
	}
	one := &metav1.PartialObjectMetadata{}
	check(as("PartialObjectMetadata").Name("m").Do(ctx).Into(one))
	same("name", one.Name, "m")
	err := as("Table").Do(ctx).Error()
	expect(errors.IsNotAcceptable(err), "not acceptable", err)
	fmt.Println("metadata:", strings.Join(names, " "))
}

func discovered() {
	get := func(path string, into runtime.Object, as string) {
		raw, err := client.RESTClient().Get().AbsPath(path).SetHeader("Accept", protobuf+as).Do(ctx).Raw()
		check(err)
		unknown := runtime.Unknown{}
		check(unknown.Unmarshal(raw[4:]))
		check(into.(interface{ Unmarshal([]byte) error }).Unmarshal(unknown.Raw))
	}
	list, groups, every := &metav1.APIResourceList{}, &metav1.APIGroupList{}, &apidiscovery.APIGroupDiscoveryList{}
	get("/apis/apps/v1", list, "")
	get("/apis", groups, "")
	get("/apis", every, ";g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")
	same("version", list.GroupVersion, "apps/v1")
	same("groups", len(groups.Groups), len(every.Items))
	for _, one := range list.APIResources {
		if one.Name == "deployments/scale" {
			fmt.Println("discovery:", one.Group, one.Version, one.Kind, one.Verbs)
		}
	}
}

// everything that can be listed is the same in both encodings, object by object.
func everything() {
	lists, err := discovery.NewDiscoveryClient(texts.RESTClient()).ServerPreferredResources()
	check(err)
	kinds, compared := 0, 0
	for _, list := range lists {
		for _, one := range list.APIResources {
			known := scheme.Scheme.Recognizes(schema.FromAPIVersionAndKind(list.GroupVersion, one.Kind))
			if !known || !slices.Contains(one.Verbs, "list") {
				continue
			}
			prefix := "/apis/"
			if list.GroupVersion == "v1" {
				prefix = "/api/"
			}
			kinds++
			compared += bothWays(prefix + list.GroupVersion + "/" + one.Name)
		}
	}
	expect(kinds > 50 && compared > 100, fmt.Sprint(kinds, " kinds, ", compared, " objects"), nil)
	fmt.Println("everything")
}

func bothWays(path string) int {
	read := func(from *kubernetes.Clientset) map[string]runtime.Object {
		list, err := from.CoreV1().RESTClient().Get().AbsPath(path).Do(ctx).Get()
		check(err)
		items, err := meta.ExtractList(list)
		check(err)
		found := map[string]runtime.Object{}
		for _, item := range items {
			of, err := meta.Accessor(item)
			check(err)
			found[string(of.GetUID())+" "+of.GetResourceVersion()] = item
		}
		return found
	}
	packed, compared := read(client), 0
	for key, item := range read(texts) {
		if other, ok := packed[key]; ok {
			same(path, other, item)
			compared++
		}
	}
	return compared
}

const definition = `{"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
"metadata": {"name": "spams.protobuf.example.com"}, "spec": {"group": "protobuf.example.com", "scope": "Namespaced",
"names": {"plural": "spams", "kind": "Spam"}, "versions": [{"name": "v1", "served": true, "storage": true, "schema":
{"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object", "nullable": true, "properties": {
"many": {"type": "array", "items": {"type": "string", "enum": ["a", "b"]}, "default": ["a"], "maxItems": 3},
"some": {"type": "number", "default": 1.5, "minimum": -2, "exclusiveMinimum": true},
"no": {"type": "boolean", "default": false}, "any": {"x-kubernetes-preserve-unknown-fields": true},
"either": {"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]},
"map": {"type": "object", "additionalProperties": {"type": "string", "pattern": "^a"}}}}}}}}]}}`

const definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"

// custom resources have no protobuf form, but their definitions and their metadata have.
func custom() {
	check(texts.CoreV1().RESTClient().Post().AbsPath(definitions).SetHeader("Content-Type", runtime.ContentTypeJSON).
		Body([]byte(definition)).Do(ctx).Error())
	spams := "/apis/protobuf.example.com/v1/namespaces/" + namespace + "/spams"
	until("spams", func() bool { return texts.RESTClient().Get().AbsPath(spams).Do(ctx).Error() == nil })
	err := client.RESTClient().Get().AbsPath(spams).Do(ctx).Error()
	expect(errors.IsNotAcceptable(err), "not acceptable", err)
	list := &metav1.PartialObjectMetadataList{}
	check(client.CoreV1().RESTClient().Get().AbsPath(spams).
		SetHeader("Accept", protobuf+";as=PartialObjectMetadataList;g=meta.k8s.io;v=v1").Do(ctx).Into(list))
	raw, err := client.RESTClient().Get().AbsPath(definitions + "/spams.protobuf.example.com").Do(ctx).Raw()
	check(err)
	expect(strings.HasPrefix(string(raw), "k8s\x00"), "protobuf", nil)
	fmt.Println("custom", len(list.Items), list.ResourceVersion != "")
}

func until(what string, done func() bool) {
	for range 200 {
		if done() {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	panic("never: " + what)
}

const gnostic = "application/com.github.proto-openapi.spec.v3.v1.0+protobuf"

// described is all of OpenAPI v3, which gnostic reads from protobuf as it stands in JSON.
func described() {
	const spams = "apis/protobuf.example.com/v1"
	var paths map[string]openapi.GroupVersion
	until(spams, func() bool {
		var err error
		paths, err = openapi.NewClient(texts.RESTClient()).Paths()
		check(err)
		return paths[spams] != nil
	})
	for path, found := range paths {
		packed, err := found.Schema(gnostic)
		check(err)
		document := &openapi_v3.Document{}
		check(proto.Unmarshal(packed, document))
		text, err := yaml.Marshal(document.ToRawInfo())
		check(err)
		var read, wanted any
		check(yaml.Unmarshal(text, &read))
		asText, err := found.Schema(runtime.ContentTypeJSON)
		check(err)
		check(json.Unmarshal(asText, &wanted))
		lossy(wanted)
		text, err = json.Marshal(read)
		check(err)
		check(json.Unmarshal(text, &read))
		same(path, read, wanted)
	}
	check(texts.RESTClient().Delete().AbsPath(definitions + "/spams.protobuf.example.com").Do(ctx).Error())
	expect(len(paths) > 20, "paths", nil)
	fmt.Println("described")
}

// lossy is what becomes of a document in gnostic: defaults that are no scalars are null.
func lossy(value any) {
	switch found := value.(type) {
	case map[string]any:
		switch found["default"].(type) {
		case []any, map[string]any:
			found["default"] = nil
		}
		for name, one := range found {
			if names, ok := one.(map[string]any); ok && name == "properties" {
				for _, property := range names { // one may be called default
					lossy(property)
				}
			} else {
				lossy(one)
			}
		}
	case []any:
		for _, one := range found {
			lossy(one)
		}
	}
}

func same(what string, found, wanted any) {
	if !equality.Semantic.DeepEqual(found, wanted) {
		panic(fmt.Sprintf("%s: %.2000s\nis not %.2000s", what, fmt.Sprintf("%#v", found), fmt.Sprintf("%#v", wanted)))
	}
}

func expect(found bool, what string, err error) {
	if !found {
		panic(fmt.Sprintf("no %s: %v", what, err))
	}
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

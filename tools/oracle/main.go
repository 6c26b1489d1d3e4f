// What Kubernetes itself makes of API objects: reads one JSON object a line, writes one JSON answer a line.
//
// proto: the object as a protobuf body, in base64. back: what Kubernetes reads from that body. defaulted: the object with
// the defaults of its version. table: the meta/v1 Table of the defaulted object, as the API server's printers make it.
// tools/golden.py runs it to write the golden files of tests/unit/api.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"

	discovery "k8s.io/api/apidiscovery/v2"
	oldDiscovery "k8s.io/api/apidiscovery/v2beta1"
	extensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/install"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kjson "k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	aggregation "k8s.io/kube-aggregator/pkg/apis/apiregistration/install"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	_ "k8s.io/kubernetes/pkg/apis/admissionregistration/install"
	_ "k8s.io/kubernetes/pkg/apis/flowcontrol/install"
	_ "k8s.io/kubernetes/pkg/apis/networking/install"
	_ "k8s.io/kubernetes/pkg/apis/node/install"
	_ "k8s.io/kubernetes/pkg/apis/storagemigration/install"
	"k8s.io/kubernetes/pkg/printers"
	internal "k8s.io/kubernetes/pkg/printers/internalversion"
	"k8s.io/kubernetes/pkg/printers/storage"
)

var (
	scheme = legacyscheme.Scheme
	texts  = kjson.NewSerializerWithOptions(kjson.DefaultMetaFactory, scheme, scheme, kjson.SerializerOptions{})
	bodies = protobuf.NewSerializer(scheme, scheme)
	tables = storage.TableConvertor{TableGenerator: printers.NewTableGenerator().With(internal.AddHandlers)}
)

// Answer is a line of the output; problem says why something is missing.
type Answer struct {
	Proto     string          `json:"proto,omitempty"`
	Back      json.RawMessage `json:"back,omitempty"`
	Defaulted json.RawMessage `json:"defaulted,omitempty"`
	Table     *metav1.Table   `json:"table,omitempty"`
	Problem   string          `json:"problem,omitempty"`
}

func text(obj runtime.Object, kind schema.GroupVersionKind) (json.RawMessage, error) {
	obj.GetObjectKind().SetGroupVersionKind(kind)
	var out bytes.Buffer
	err := texts.Encode(obj, &out)
	return json.RawMessage(bytes.TrimSpace(out.Bytes())), err
}

func answer(line []byte) (said Answer) {
	defer func() {
		if found := recover(); found != nil {
			said.Problem = fmt.Sprint("panic: ", found)
		}
	}()
	obj, kind, err := texts.Decode(line, nil, nil)
	if err != nil {
		return Answer{Problem: err.Error()}
	}
	obj.GetObjectKind().SetGroupVersionKind(*kind)
	var body bytes.Buffer
	if err = bodies.Encode(obj, &body); err != nil {
		return Answer{Problem: err.Error()}
	}
	said.Proto = base64.StdEncoding.EncodeToString(body.Bytes())
	back, _, err := bodies.Decode(body.Bytes(), nil, nil)
	if err != nil {
		return Answer{Problem: err.Error()}
	}
	if said.Back, err = text(back, *kind); err != nil {
		return Answer{Problem: err.Error()}
	}
	scheme.Default(obj)
	if said.Defaulted, err = text(obj, *kind); err != nil {
		said.Problem = err.Error()
		return
	}
	if obj, _, err = texts.Decode(said.Defaulted, nil, nil); err != nil {
		said.Problem = err.Error()
		return
	}
	if said.Table, err = table(obj); err != nil {
		said.Problem = err.Error()
	}
	return
}

func table(obj runtime.Object) (*metav1.Table, error) {
	hub, err := scheme.UnsafeConvertToVersion(obj, runtime.InternalGroupVersioner)
	if err != nil {
		return nil, err
	}
	found, err := tables.ConvertToTable(context.Background(), hub, &metav1.TableOptions{})
	if err != nil {
		return nil, err
	}
	for at := range found.Rows {
		found.Rows[at].Object = runtime.RawExtension{}
	}
	return found, nil
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	extensions.Install(scheme)
	aggregation.Install(scheme)
	must(discovery.AddToScheme(scheme))
	must(oldDiscovery.AddToScheme(scheme))
	must(metav1.AddMetaToScheme(scheme))
	in := bufio.NewReaderSize(os.Stdin, 1<<24)
	out := json.NewEncoder(os.Stdout)
	for {
		line, ended := in.ReadBytes('\n')
		if len(bytes.TrimSpace(line)) > 0 {
			must(out.Encode(answer(line)))
		}
		if ended != nil {
			return
		}
	}
}

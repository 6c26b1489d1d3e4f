// An informer and server-side apply with the official Go client; each line that is printed is checked by the test.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1apply "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

const name = "from-go"

func main() {
	config, err := clientcmd.BuildConfigFromFlags("", os.Args[1])
	check(err)
	namespace := os.Args[2]
	client, err := kubernetes.NewForConfig(config)
	check(err)
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()

	events := make(chan string, 100)
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(namespace),
		informers.WithTweakListOptions(func(o *metav1.ListOptions) { o.LabelSelector = "client=go" }))
	informer := factory.Core().V1().ConfigMaps().Informer()
	_, err = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { events <- "added " + show(obj) },
		UpdateFunc: func(_, obj any) { events <- "updated " + show(obj) },
		DeleteFunc: func(obj any) { events <- "deleted " + show(obj) },
	})
	check(err)
	factory.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		panic("not synced")
	}
	fmt.Println("synced")

	maps := client.CoreV1().ConfigMaps(namespace)
	apply := func(manager, value string) error {
		wanted := corev1apply.ConfigMap(name, namespace).WithLabels(map[string]string{"client": "go"}).
			WithData(map[string]string{"value": value})
		_, err := maps.Apply(ctx, wanted, metav1.ApplyOptions{FieldManager: manager})
		return err
	}
	check(apply("go", "1"))
	fmt.Println(<-events)
	check(apply("go", "2"))
	fmt.Println(<-events)
	if err := apply("another", "3"); errors.IsConflict(err) {
		fmt.Println("conflict")
	} else {
		panic(fmt.Sprintf("no conflict: %v", err))
	}
	check(maps.Delete(ctx, name, metav1.DeleteOptions{}))
	fmt.Println(<-events)
}

func show(obj any) string {
	found := obj.(*corev1.ConfigMap)
	return found.Name + " " + found.Data["value"]
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

//! An operator as kube-rs' own examples write them: a definition, a finalizer, a child that is applied and owned, a status, events.
use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client, CustomResource, CustomResourceExt, Resource, ResourceExt,
    api::{ObjectMeta, Patch, PatchParams},
    runtime::{
        controller::{Action, Controller},
        events::{Event, EventType, Recorder, Reporter},
        finalizer::{Event as Finalizer, finalizer},
        wait::{await_condition, conditions},
        watcher,
    },
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

const NAME: &str = "greeter";

#[derive(CustomResource, Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[kube(group = "rust.example.com", version = "v1", kind = "Greeting", namespaced, status = "GreetingStatus")]
#[kube(printcolumn = r#"{"name":"Said","type":"string","jsonPath":".status.said"}"#)]
struct GreetingSpec {
    #[schemars(length(min = 1, max = 20), regex(pattern = r"^(?i)[a-z ]+$"))]
    whom: String,
    #[serde(default)]
    loud: Option<bool>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
struct GreetingStatus {
    said: String,
}

struct Context {
    client: Client,
    recorder: Recorder,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Kube(#[from] kube::Error),
    #[error(transparent)]
    Finalizer(#[from] Box<kube::runtime::finalizer::Error<Error>>),
}

async fn reconcile(found: Arc<Greeting>, context: Arc<Context>) -> Result<Action, Error> {
    let api: Api<Greeting> = Api::namespaced(context.client.clone(), &found.namespace().unwrap());
    finalizer(&api, "rust.example.com/greeter", found, |event| async {
        match event {
            Finalizer::Apply(greeting) => apply(greeting, &context).await,
            Finalizer::Cleanup(greeting) => {
                tell(&context, &greeting, "Forgotten").await?;
                Ok(Action::await_change())
            }
        }
    })
    .await
    .map_err(|error| Error::Finalizer(Box::new(error)))
}

async fn apply(greeting: Arc<Greeting>, context: &Context) -> Result<Action, Error> {
    let namespace = greeting.namespace().unwrap();
    let said = format!("Hello {}", greeting.spec.whom);
    let params = PatchParams::apply(NAME).force();
    let child = ConfigMap {
        metadata: ObjectMeta {
            name: Some(greeting.name_any()),
            owner_references: Some(vec![greeting.controller_owner_ref(&()).unwrap()]),
            ..Default::default()
        },
        data: Some(BTreeMap::from([("said".into(), said.clone())])),
        ..Default::default()
    };
    let maps: Api<ConfigMap> = Api::namespaced(context.client.clone(), &namespace);
    maps.patch(&greeting.name_any(), &params, &Patch::Apply(&child)).await?;
    let api: Api<Greeting> = Api::namespaced(context.client.clone(), &namespace);
    let status = json!({"apiVersion": "rust.example.com/v1", "kind": "Greeting", "status": {"said": said}});
    api.patch_status(&greeting.name_any(), &params, &Patch::Apply(status)).await?;
    if greeting.status.as_ref().map(|status| &status.said) != Some(&said) {
        tell(context, &greeting, "Greeted").await?;
    }
    Ok(Action::requeue(Duration::from_secs(300)))
}

async fn tell(context: &Context, greeting: &Greeting, reason: &str) -> Result<(), Error> {
    println!("{} {}", reason.to_lowercase(), greeting.name_any());
    let event = Event {
        type_: EventType::Normal,
        reason: reason.into(),
        note: None,
        action: reason.into(),
        secondary: None,
    };
    Ok(context.recorder.publish(&event, &greeting.object_ref(&())).await?)
}

fn failed(_: Arc<Greeting>, error: &Error, _: Arc<Context>) -> Action {
    println!("failed {error}");
    Action::requeue(Duration::from_secs(1))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = Client::try_default().await?;
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let params = PatchParams::apply(NAME).force();
    definitions.patch("greetings.rust.example.com", &params, &Patch::Apply(Greeting::crd())).await?;
    await_condition(definitions, "greetings.rust.example.com", conditions::is_crd_established()).await?;
    println!("established");
    let reporter = Reporter { controller: NAME.into(), instance: Some(NAME.into()) };
    let context = Arc::new(Context { client: client.clone(), recorder: Recorder::new(client.clone(), reporter) });
    Controller::new(Api::<Greeting>::all(client.clone()), watcher::Config::default().streaming_lists())
        .owns(Api::<ConfigMap>::all(client), watcher::Config::default())
        .shutdown_on_signal()
        .run(reconcile, failed, context)
        .for_each(|_| futures::future::ready(()))
        .await;
    Ok(())
}

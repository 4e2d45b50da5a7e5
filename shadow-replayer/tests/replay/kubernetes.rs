//! The manifest for Kubernetes: valid by the schemas of Kubernetes, and in agreement with the program.

use std::path::Path;

use clap::Parser;
use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{ConfigMap, Container, PodSpec};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::serde::Serialize;
use k8s_openapi::serde::de::DeserializeOwned;
use serde_json::{Value, json};
use shadow_recorder::config::Document;
use shadow_replayer::cli::{Args, Command, USAGE};
use shadow_replayer::config::Config;

use crate::candidate::Candidate;
use crate::recording::{booked, exchange};
use crate::world::World;

const MANIFEST: &str = include_str!("../../kubernetes/replay.yaml");
const RUN_ID: &str = "01936f5e-7a5c-7d3e-9d4a-5b6c7d8e9f00";
const DATABASE: &str = "postgres://shadow@db.internal/shadow";

/// Returns the documents as the pipeline applies them.
fn documents() -> Vec<Value> {
    let text = MANIFEST
        .replace("${RUN_ID}", RUN_ID)
        .replace("${CANDIDATE_IMAGE}", "registry.internal/ledger:2026.11.2")
        .replace("${REPLAYER_IMAGE}", "registry.internal/shadow-replayer:0.1.0")
        .replace("${NFT_IMAGE}", "registry.internal/nft:1");
    serde_saphyr::from_multiple(&text).unwrap()
}

/// Returns what is wrong with a document by the schema of its kind.
fn mistakes(document: &Value) -> Vec<String> {
    match (document["apiVersion"].as_str(), document["kind"].as_str()) {
        (Some("v1"), Some("ConfigMap")) => mistakes_as::<ConfigMap>(document),
        (Some("networking.k8s.io/v1"), Some("NetworkPolicy")) => {
            mistakes_as::<NetworkPolicy>(document)
        }
        (Some("batch/v1"), Some("Job")) => mistakes_as::<Job>(document),
        other => vec![format!("no schema is known for {other:?}")],
    }
}

/// Reads a document into its type and writes it again: what the type does not know is lost, what it requires is added.
fn mistakes_as<T: Serialize + DeserializeOwned>(document: &Value) -> Vec<String> {
    match serde_json::from_value::<T>(document.clone()) {
        Ok(typed) => {
            let mut found = Vec::new();
            differences("", document, &serde_json::to_value(typed).unwrap(), &mut found);
            found
        }
        Err(error) => vec![error.to_string()],
    }
}

fn differences(path: &str, written: &Value, known: &Value, found: &mut Vec<String>) {
    match (written, known) {
        (Value::Object(written), Value::Object(known)) => {
            for (key, value) in written {
                match known.get(key) {
                    Some(kept) => differences(&format!("{path}/{key}"), value, kept, found),
                    None => found.push(format!("{path}/{key} is unknown")),
                }
            }
            let added = known.keys().filter(|key| !written.contains_key(*key));
            found.extend(added.map(|key| format!("{path}/{key} is missing")));
        }
        (Value::Array(written), Value::Array(known)) if written.len() == known.len() => {
            for (at, (value, kept)) in written.iter().zip(known).enumerate() {
                differences(&format!("{path}/{at}"), value, kept, found);
            }
        }
        _ if written == known => {}
        _ => found.push(format!("{path} is {written} and is read as {known}")),
    }
}

fn job() -> JobSpec {
    let document = documents().into_iter().find(|document| document["kind"] == "Job").unwrap();
    serde_json::from_value::<Job>(document).unwrap().spec.unwrap()
}

fn pod() -> PodSpec {
    job().template.spec.unwrap()
}

/// Returns the container, whether it runs to its end before the others, beside them, or is one of them.
fn container(name: &str) -> Container {
    let pod = pod();
    let all = pod.init_containers.into_iter().flatten().chain(pod.containers);
    all.into_iter().find(|container| container.name == name).unwrap()
}

/// Returns the value of a variable of a container; a secret stands for itself.
fn variable(container: &Container, name: &str) -> Option<String> {
    let set = container.env.iter().flatten().find(|set| set.name == name)?;
    let secret = || set.value_from.as_ref()?.secret_key_ref.as_ref().map(|from| from.key.clone());
    set.value.clone().or_else(secret)
}

/// Returns a container's arguments as Kubernetes passes them on.
fn arguments(name: &str) -> Vec<String> {
    let container = container(name);
    let words = container.command.iter().chain(&container.args).flatten();
    words
        .map(|word| match word.strip_prefix("$(").and_then(|word| word.strip_suffix(')')) {
            Some(name) => variable(&container, name).unwrap(),
            None => word.clone(),
        })
        .collect()
}

fn text_in_config_map(name: &str) -> String {
    documents()[0]["data"][name].as_str().unwrap().to_owned()
}

fn user(name: &str) -> i64 {
    container(name).security_context.unwrap().run_as_user.unwrap()
}

#[test]
fn every_document_is_valid_by_the_schemas_of_kubernetes() {
    let documents = documents();
    let kinds: Vec<_> = documents.iter().map(|document| document["kind"].clone()).collect();
    assert_eq!(kinds, ["ConfigMap", "NetworkPolicy", "Job"]);
    for document in &documents {
        assert_eq!(mistakes(document), Vec::<String>::new(), "{}", document["kind"]);
    }
}

#[test]
fn a_misspelt_key_a_wrong_type_and_a_missing_key_are_found() {
    let documents = documents();
    let mistaken = |at: usize, pointer: &str, key: &str, value: Option<Value>| {
        let mut document = documents[at].clone();
        let map = document.pointer_mut(pointer).unwrap().as_object_mut().unwrap();
        match value {
            Some(value) => map.insert(key.into(), value),
            None => map.remove(key),
        };
        mistakes(&document)
    };
    let pod = "/spec/template/spec";
    let misspelt = mistaken(2, pod, "automountServiceAcountToken", Some(json!(false)));
    assert_eq!(misspelt, ["/spec/template/spec/automountServiceAcountToken is unknown"]);
    let misspelt = mistaken(1, "/spec", "policyType", Some(json!(["Egress"])));
    assert_eq!(misspelt, ["/spec/policyType is unknown"]);
    let typed = mistaken(2, "/spec", "completions", Some(json!("four")));
    assert!(typed[0].contains("invalid type: string \"four\", expected i32"), "{typed:?}");
    let typed = mistaken(0, "/data", "shadow.toml", Some(json!(["[service]"])));
    assert!(typed[0].contains("invalid type: sequence, expected a string"), "{typed:?}");
    let missing = mistaken(2, "/spec/template/spec", "containers", None);
    assert_eq!(missing, ["/spec/template/spec/containers is missing"]);
    let kind = mistaken(2, "", "kind", Some(json!("Jobs")));
    assert_eq!(kind, [r#"no schema is known for (Some("batch/v1"), Some("Jobs"))"#]);
}

#[test]
fn the_workers_arguments_are_those_of_the_program() {
    let args = Args::try_parse_from(arguments("replayer")).unwrap();
    assert!(matches!(args.command, Command::Work(_)));
    let config = args.config;
    let mount = &container("replayer").volume_mounts.unwrap()[0];
    assert_eq!(config.parent(), Some(Path::new(&mount.mount_path)));
    assert!(arguments("replayer").contains(&RUN_ID.to_owned()));
    let probe = Args::try_parse_from(arguments("probe")).unwrap();
    assert!(matches!(probe.command, Command::Probe));
    assert_eq!(probe.config, config);
}

#[test]
fn the_configuration_is_whole_and_the_run_store_is_the_secrets() {
    let secret = variable(&container("replayer"), "SHADOW_REPLAY_DATABASE");
    assert_eq!(secret.as_deref(), Some("SHADOW_REPLAY_DATABASE"));
    let text = text_in_config_map("shadow.toml");
    let environment = |name: &str| (name == "SHADOW_REPLAY_DATABASE").then(|| DATABASE.to_owned());
    let document = Document::parse(Path::new("shadow.toml"), &text, environment).unwrap();
    let config = Config::take(&document);
    document.finish().unwrap();
    let config = config.unwrap();
    assert_eq!(config.replay.database, DATABASE);
    assert!(config.isolation.listen.is_some(), "the worker asks the probe");

    // The probe takes the same file, without the secrets.
    let document = Document::parse(Path::new("shadow.toml"), &text, |_| None).unwrap();
    assert_eq!(Config::take(&document).unwrap().isolation, config.isolation);
    document.finish().unwrap();

    // The candidate finds each upstream where the stub listens for it.
    let candidate = container("candidate");
    for upstream in &config.upstreams {
        let name = format!("{}_URL", upstream.name.to_uppercase());
        let listen = upstream.listen.unwrap();
        assert_eq!(variable(&candidate, &name), Some(format!("http://{listen}")));
    }
}

#[test]
fn the_candidate_is_where_the_worker_asks_for_it() {
    let candidate = container("candidate");
    let port = variable(&candidate, "PORT").unwrap();
    let arguments = arguments("replayer");
    assert!(arguments.contains(&format!("http://127.0.0.1:{port}")), "{arguments:?}");
    let named = &candidate.ports.as_ref().unwrap()[0];
    assert_eq!(named.container_port.to_string(), port);
    let probe = json!(candidate.startup_probe.unwrap().tcp_socket.unwrap().port);
    assert_eq!(probe, json!(named.name));
    assert_eq!(candidate.restart_policy.as_deref(), Some("Always"));
}

#[test]
fn the_candidate_is_held_by_its_own_user_before_it_starts_and_has_no_secret() {
    assert_ne!(user("candidate"), user("replayer"));
    assert_eq!(user("candidate"), user("probe"), "what holds one holds the other");
    let rules = text_in_config_map("candidate.nft");
    assert!(rules.contains(&format!("meta skuid {} reject", user("candidate"))), "{rules}");
    let order: Vec<_> =
        pod().init_containers.unwrap().into_iter().map(|container| container.name).collect();
    assert_eq!(order, ["hold-candidate-to-loopback", "candidate", "probe"]);
    for name in ["candidate", "probe"] {
        let held = container(name);
        assert!(held.env_from.is_none());
        assert!(held.env.iter().flatten().all(|set| set.value_from.is_none()), "{name}");
    }
    for name in ["candidate", "probe", "replayer"] {
        let security = container(name).security_context.unwrap();
        assert_eq!(security.read_only_root_filesystem, Some(true), "{name}");
        assert_eq!(security.allow_privilege_escalation, Some(false), "{name}");
        let capabilities = security.capabilities.unwrap();
        assert_eq!((capabilities.drop, capabilities.add), (Some(vec!["ALL".into()]), None));
    }
}

#[test]
fn the_job_ends_by_the_exit_codes_of_the_program() {
    let job = job();
    assert_eq!(job.completions, job.parallelism);
    assert_eq!(job.completion_mode.as_deref(), Some("Indexed"));
    // One that exits with 0 found every shard finished.
    assert_eq!(job.success_policy.unwrap().rules[0].succeeded_count, Some(1));
    let rules = job.pod_failure_policy.unwrap().rules;
    let codes = rules.iter().find_map(|rule| rule.on_exit_codes.as_ref()).unwrap();
    assert_eq!((&*codes.operator, &*codes.values), ("In", &[i32::from(USAGE)][..]));
    assert_eq!(codes.container_name.as_deref(), Some("replayer"));
    assert_eq!(pod().restart_policy.as_deref(), Some("Never"));
}

#[tokio::test]
async fn a_worker_ends_with_the_exit_codes_that_the_job_counts_on() {
    let world = World::new("");
    world.record((0..4).map(exchange).collect());
    let candidate = Candidate::always(200, booked("Rides", "4000")).await;
    let url = candidate.url();
    let run = world.replay(&url, &["--plan-only"]).await.run();
    let work = ["work", "--quiet", "--run", &run, "--candidate", &url];
    world.replayer(&work).await.expect(0, "4 exchanges: 4 matched");
    let asked = candidate.asked().len();
    // One that comes when all is done has nothing to do, and that is a success.
    world.replayer(&work).await.expect(0, "is finished");
    assert_eq!(candidate.asked().len(), asked);

    let run = world.replay(&url, &["--plan-only"]).await.run();
    world.replayer(&["cancel", "--run", &run]).await.expect(0, "is cancelled");
    let work = ["work", "--quiet", "--run", &run, "--candidate", &url];
    world.replayer(&work).await.expect(i32::from(USAGE), "nothing is left to do");
}

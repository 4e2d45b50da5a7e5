//! Canaries of many kinds pass a recorder and a replay, and none is found in anything that is written.

mod canaries;
mod service;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use shadow_analyzer::verdict::Decision;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::harness::{Range, Said, Scene, binary, files, now, wait_for};
use canaries::{By, CANARIES, Haystack, KEY, value};
use service::{Build, serve, service, upstream};

const CONFIGURATION: &str = include_str!("redaction/shadow.toml");
const RULES: &str = include_str!("redaction/rules.toml");

/// Sends a request as it stands, and reads the answer to the end of the connection.
fn send(at: SocketAddr, head: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(at).unwrap();
    let request = format!("{head}\r\nHost: wallet\r\nConnection: close\r\n{body}");
    stream.write_all(request.replace("\r\n", "\n").replace('\n', "\r\n").as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn with_length(content_type: &str, body: &str) -> String {
    let body = body.replace("\r\n", "\n").replace('\n', "\r\n");
    format!("Content-Type: {content_type}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// The credentials and fields of a request.
fn fields() -> String {
    let v = value;
    let referer = format!(
        "https://ada:{}@shop.example/users/{}/payments?phone={}",
        v("referer's password"),
        v("referer's path"),
        v("referer's query")
    );
    [
        ("Authorization", format!("Bearer {}", v("bearer"))),
        ("Proxy-Authorization", format!("Basic {}", v("basic"))),
        ("Cookie", format!("sid={}", v("cookie"))),
        ("X-Api-Key", v("api key").into()),
        ("X-Auth-Token", v("header *-token").into()),
        ("X-Client-Secret", v("header *-secret").into()),
        ("X-Hub-Signature", v("header *-signature").into()),
        ("X-Db-Password", v("header *-password").into()),
        ("X-User", v("header token").into()),
        ("X-Device", v("header mask").into()),
        ("X-Forwarded-For", v("header drop").into()),
        ("Referer", referer),
        ("X-Original-Url", format!("/old?session={}", v("x-original-url"))),
    ]
    .map(|(name, value)| format!("{name}: {value}\r\n"))
    .concat()
}

/// A payment, in JSON whose text is to stay as it is but for what is redacted.
fn payment(n: u32) -> String {
    let v = value;
    let units = v("JSON escapes").encode_utf16();
    let escaped = units.map(|unit| format!("\\u{unit:04x}")).collect::<Vec<_>>().concat();
    format!(
        r#"{{ "id": "p{n}", "amount": {n}.10,
  "customer": {{"name":"{}", "name":"{}","ssn":{},"card" : "{}","iban":"{}","mail":"{}", "password":"{}",
  "address": {{"street":["{}"],"zip":12345}} }},
  "friends":[{{"kind":"close","nick":"{}"}},{{"kind":"far","nick":"public"}}], "by":{{"name":"{escaped}"}} }}"#,
        v("JSON text"),
        v("JSON repeated name"),
        v("JSON number"),
        v("JSON card"),
        v("JSON iban"),
        v("JSON e-mail"),
        v("JSON drop"),
        v("JSON object"),
        v("JSON filter"),
    )
}

/// Plays the clients of production.
fn clients(recorder: SocketAddr, fx: SocketAddr, proxy: SocketAddr) {
    let v = value;
    // A timer of the service's.
    send(fx, &format!("GET /timer?owner={} HTTP/1.1", v("ambient call")), "\r\n");
    let target = format!(
        "/users/{}/payments?phone={}&phone={}&mail={}&session={}&pin+code={}&n=1",
        v("path e-mail").replace('@', "%40"),
        v("query digits"),
        v("query repeated"),
        v("query e-mail").replace('@', "%40"),
        v("query drop"),
        v("query mask")
    );
    for n in 1..=6 {
        let body = payment(n);
        let chunked = format!(
            "{}Content-Type: application/json\r\nTE: trailers\r\nTrailer: x-note\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\nx-note: {}\r\n\r\n",
            fields(),
            body.replace('\n', "\r\n").len(),
            v("request's trailer")
        );
        let answer = send(recorder, &format!("POST {target} HTTP/1.1"), &chunked);
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
        let own = ["JSON card", "answer's JSON", "answer's cookie", "answer's trailer"];
        assert!(own.iter().all(|kind| answer.contains(v(kind))), "production sees all: {answer}");
    }
    let form = format!(
        "a=1&member={}&full+name={}",
        v("form"),
        v("form escapes").replace('&', "%26").replace(' ', "+")
    );
    send(
        recorder,
        "POST /forms HTTP/1.1",
        &with_length("application/x-www-form-urlencoded", &form),
    );
    let part = |head: &str, content: &str| {
        format!("--b\nContent-Disposition: form-data; {head}\n\n{content}\n")
    };
    let json = format!("{{\"name\":\"{}\"}}", v("multipart JSON"));
    let upload = [
        part("name=\"member\"", v("multipart field")),
        part(
            &format!("name=document; filename=\"{}\"", v("multipart file's name")),
            v("multipart file"),
        ),
        part("name=meta\nContent-Type: application/json", &json),
        "--b--\n".into(),
    ];
    send(
        recorder,
        "POST /upload HTTP/1.1",
        &with_length("multipart/form-data; boundary=b", &upload.concat()),
    );
    let card = format!("GET /cards/{}/limits HTTP/1.1", v("path card"));
    send(recorder, &card, "\r\n");
    for path in ["fails", "down", "timer", "page", "broken", "bytes", "lines"] {
        let answer = send(recorder, &format!("GET /{path} HTTP/1.1"), "\r\n");
        assert!(answer.starts_with("HTTP/1.1 "), "{path}: {answer}");
    }
    // What is refused is an error, and errors are logged.
    let refused = format!("GET /users/{}<> HTTP/1.1", v("path e-mail"));
    send(recorder, &refused, &format!("Authorization: {}\r\n\r\n", v("bearer")));
    let elsewhere = format!(
        "http://ada:{}@elsewhere.invalid/?phone={}",
        v("proxy's password"),
        v("query digits")
    );
    send(proxy, &format!("GET {elsewhere} HTTP/1.1"), "\r\n");
    let tunnel = format!("CONNECT ada:{}@elsewhere.invalid:443 HTTP/1.1", v("proxy's password"));
    send(proxy, &tunnel, "\r\n");
}

fn start(scene: &Scene, role: &str, asks_more: bool) -> JoinHandle<()> {
    let at = |name: &str| scene.addresses[name];
    let build = Build { fx: at("fx"), tax: at("tax"), asks_more };
    tokio::spawn(serve(at(role), move |request| service(request, build)))
}

/// Records at the level of the log that says most; returns the range and the metrics.
async fn record(scene: &Scene) -> (Range, String) {
    let at = |name: &str| scene.addresses[name];
    let origin = tokio::spawn(serve(at("fx_origin"), upstream));
    let production = start(scene, "service", false);
    let program = binary("shadow-recorder");
    let arguments = ["SHADOW_LOG=trace", program.to_str().unwrap(), "--config", "shadow.toml"];
    let recorder = scene.start("/usr/bin/env".as_ref(), &arguments);
    wait_for(at("recorder"));
    let from = now();
    let (clients_of, admin) = (at("recorder"), at("loyalty"));
    let (fx, proxy) = (at("fx"), at("loyalty_origin"));
    spawn_blocking(move || clients(clients_of, fx, proxy)).await.unwrap();
    // The writer's work is counted a little later.
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    let metrics =
        spawn_blocking(move || send(admin, "GET /metrics HTTP/1.1", "\r\n")).await.unwrap();
    recorder.stop();
    production.abort();
    origin.abort();
    (Range { from, to: now() }, metrics)
}

/// Certifies a build; returns what was said.
async fn certify(scene: &Scene, name: &str, range: Range, asks_more: bool) -> Said {
    let candidate = start(scene, "candidate", asks_more);
    wait_for(scene.addresses["candidate"]);
    let said = scene.certify(name, range);
    candidate.abort();
    let _ = candidate.await;
    said
}

/// Returns the kinds that are found in what the programs wrote and said, each with where.
fn found(scene: &Scene, said: &[String]) -> Vec<(&'static str, By, String)> {
    let folder = scene.path("");
    let written = files(&folder).into_iter().filter(|file| !file.ends_with("shadow.toml"));
    let mut texts: Vec<(String, Haystack)> = written
        .map(|file| (file.display().to_string(), Haystack::of(&std::fs::read(&file).unwrap())))
        .collect();
    assert!(texts.iter().any(|(name, _)| name.contains(".log")), "the logs are looked into");
    texts.extend(said.iter().map(|text| ("said".to_owned(), Haystack::of(text.as_bytes()))));
    let key = texts.iter().find(|(_, text)| text.holds(KEY));
    assert!(key.is_none(), "the key is in {}", key.unwrap().0);
    let place =
        |value| texts.iter().find(|(_, text)| text.holds(value)).map(|(name, _)| name.clone());
    let found = CANARIES.iter().filter_map(|(kind, value, by)| Some((*kind, *by, place(value)?)));
    found.collect()
}

/// Records, certifies production's own build and one that asks more; returns what was found, and what was said of the two.
async fn run(scene: &Scene) -> (Vec<(&'static str, By, String)>, [Said; 2], String) {
    let (range, metrics) = record(scene).await;
    let same = certify(scene, "same", range, false).await;
    let more = certify(scene, "more", range, true).await;
    let said = [&same.out, &same.err, &more.out, &more.err, &metrics].map(Clone::clone);
    (found(scene, &said), [same, more], metrics)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_canary_is_found_and_the_redacted_recording_certifies_production() {
    let scene = Scene::new();
    scene.configure(&format!("{CONFIGURATION}{RULES}"));
    let (found, [same, more], metrics) = run(&scene).await;
    assert!(CANARIES.len() >= 50 && found.is_empty(), "{found:#?}");
    same.expect(0, "CERTIFIED");
    let verdict = scene.verdict("same");
    assert_eq!((verdict.verdict, verdict.confidence), (Decision::Certified, 100));
    assert_eq!((verdict.exchanges.matched, verdict.exchanges.unverified), (16, 0), "{verdict:#?}");
    assert_eq!((verdict.upstream.hits, verdict.upstream.misses), (8, 0));
    let omitted = "shadow_recorder_bodies_omitted_total{reason=\"unredactable\"} 2";
    assert!(metrics.contains(omitted), "the page and the broken JSON: {metrics}");
    let segments = files(&scene.path("store/captures")).into_iter();
    let texts: Vec<Haystack> = segments.map(|f| Haystack::of(&std::fs::read(f).unwrap())).collect();
    // Who called is known, and the text around what was redacted stays as it was.
    for kept in
        ["\"principal\":\"tok_", "{ \"id\": \"p1\", \"amount\": 1.10,", "\"nick\":\"public\""]
    {
        assert!(texts.iter().any(|text| text.holds(kept)), "{kept} is not in the recording");
    }
    more.expect(2, "GET /more?owner=tok_");
    assert_eq!(scene.verdict("more").upstream.misses, 6);

    // Whoever has another key cannot compare, and is told.
    let key = "key = \"cnry-the-key-of-the-tokens\"";
    let range = Range { from: verdict.from, to: verdict.to };
    scene.edit(key, "key = \"another key of the tokens\"");
    certify(&scene, "same", range, false).await.expect(64, "is not the one of the recording");
    scene.edit("key = \"another key of the tokens\"", "");
    certify(&scene, "same", range, false)
        .await
        .expect(64, "set [redaction] key, or SHADOW_REDACTION_KEY");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_rules_every_canary_that_a_rule_kept_out_is_found() {
    let scene = Scene::new();
    scene.configure(CONFIGURATION);
    let (found, _, _) = run(&scene).await;
    let kinds = |by: By| {
        let kinds = found.iter().filter(move |(_, found, _)| *found == by);
        kinds.map(|(kind, ..)| *kind).collect::<Vec<_>>()
    };
    assert_eq!(kinds(By::Default), Vec::<&str>::new(), "credentials are dropped without rules");
    let expected: Vec<&str> =
        CANARIES.iter().filter(|(.., by)| *by == By::Rule).map(|(kind, ..)| *kind).collect();
    assert_eq!(kinds(By::Rule), expected);
}

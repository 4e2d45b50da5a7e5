use std::time::Duration;

use super::*;

const GOOD: &str = r#"
[service]
name = "ledger"
[store]
directory = "store"
[recorder]
listen = "127.0.0.1:8080"
forward_to = "http://127.0.0.1:8081"
spool = "spool"
[[upstream]]
name = "fx"
listen = "127.0.0.1:9101"
forward_to = "http://fx.internal"
"#;

fn mistakes(text: &str, environment: Environment) -> Vec<String> {
    let file = Path::new("etc/shadow.toml");
    let document = match Document::parse(file, text, environment) {
        Ok(document) => document,
        Err(ConfigError::Mistakes(mistakes)) => return mistakes,
        Err(other) => panic!("{other}"),
    };
    recorder::service(&document);
    super::store::store(&document);
    recorder::recorder(&document, "host");
    egress::egress(&document, &upstream::upstreams(&document));
    match document.finish() {
        Err(ConfigError::Mistakes(mistakes)) => mistakes,
        _ => Vec::new(),
    }
}

#[test]
fn a_good_file_has_no_mistake() {
    assert_eq!(mistakes(GOOD, |_| None), Vec::<String>::new());
}

#[test]
fn all_mistakes_are_reported_together_with_their_lines() {
    let text = GOOD
        .replace("spool = ", "spol = ")
        .replace("127.0.0.1:9101", "0.0.0.0:9101")
        .replace("http://127.0.0.1:8081", "https://127.0.0.1:8081")
        .replace("[service]", "[servise]\n[service]");
    let found = mistakes(&text, |_| None).join("\n");
    for expected in [
        "etc/shadow.toml:2: unknown section [servise]; did you mean `service`?",
        "[recorder]: unknown key `spol`; did you mean `spool`?",
        "[recorder]: `spool` is missing",
        "`forward_to` `https://127.0.0.1:8081` uses TLS, which is for upstreams only: write http://HOST:PORT",
        "`listen` must be a loopback address",
    ] {
        assert!(found.contains(expected), "{expected}\n--- in\n{found}");
    }
}

#[test]
fn a_missing_section_says_what_it_needs() {
    assert!(
        mistakes("", |_| None)
            .iter()
            .any(|m| m.contains("section [service] is missing; it needs `name`"))
    );
}

#[test]
fn descriptors_that_cannot_be_read_are_a_mistake_at_their_line() {
    let text = GOOD.replace("spool = ", "grpc_descriptors = \"none.pb\"\nspool = ");
    let found = mistakes(&text, |_| None).join("\n");
    let expected = "etc/shadow.toml:9: [recorder]: `grpc_descriptors`: cannot read etc/none.pb: ";
    assert!(found.contains(expected) && found.contains("write it with protoc"), "{found}");
}

#[test]
fn the_environment_overrides_a_scalar() {
    let environment: Environment =
        |name| (name == "SHADOW_RECORDER_LISTEN").then(|| "nowhere".into());
    let found = mistakes(GOOD, environment).join("\n");
    assert!(found.contains("`nowhere` is not an address"), "{found}");
}

#[test]
fn a_rate_below_one_needs_a_key_which_is_never_shown() {
    let with = |line: &str| GOOD.replace("spool = ", &format!("{line}\nspool = "));
    for good in [
        "sampling_rate = \"1\"",
        "sampling_key = \"s3cret\"",
        "sampling_rate = \"0.5\"\nsampling_key = \"s3cret\"",
    ] {
        assert_eq!(mistakes(&with(good), |_| None), Vec::<String>::new(), "{good}");
    }
    let environment: Environment =
        |name| (name == "SHADOW_RECORDER_SAMPLING_KEY").then(|| "s3cret".into());
    assert_eq!(mistakes(&with("sampling_rate = \"0.5\""), environment), Vec::<String>::new());
    for (bad, expected) in [
        (
            "sampling_rate = \"0.5\"",
            "`sampling_key` is missing: with a rate below 1 set it, or SHADOW_RECORDER_SAMPLING_KEY",
        ),
        ("sampling_rate = 0.5", "`sampling_rate` must be a text in quotes, not float"),
        ("sampling_rate = \"0\"", "`0` is not a rate: write a decimal above 0 and up to 1"),
        ("sampling_rate = \"1.5\"\nsampling_key = \"s3cret\"", "`1.5` is not a rate"),
        ("sampling_key = \"\"", "`sampling_key` is empty"),
        ("sampling_key = [\"s3cret\"]", "`sampling_key` must be a text in quotes"),
    ] {
        let found = mistakes(&with(bad), |_| None).join("\n");
        assert!(found.contains(expected) && !found.contains("s3cret"), "{bad}\n{found}");
    }
    let text = with("sampling_key = \"s3cret\"");
    let document = Document::parse(Path::new("shadow.toml"), &text, |_| None).unwrap();
    let recorder = format!("{:?}", recorder::recorder(&document, "host"));
    assert!(recorder.contains("Key(…)") && !recorder.contains("s3cret"), "{recorder}");
}

#[test]
fn a_stratum_says_whom_it_takes_and_how_many() {
    let with = |lines: &str| {
        let text = GOOD.replace("spool = ", "sampling_key = \"s3cret\"\nspool = ");
        format!("{text}\n{lines}")
    };
    let stratum = |keys: &str| with(&format!("[[stratum]]\nname = \"a\"\n{keys}"));
    let good = concat!(
        "route = \"POST /trips/*\"\nheader = { name = \"X-Market\", value = [\"eu\", \"uk\"] }\n",
        "answer = { path = \"$.kind\", value = \"refund\" }\nline_of_business = \"Eats\"\nrate = \"0.5\"\n",
    );
    assert_eq!(mistakes(&stratum(good), |_| None), Vec::<String>::new());
    let many: Vec<String> =
        (0..65).map(|n| format!("[[stratum]]\nname = \"s{n}\"\nrate = \"1\"\n")).collect();
    for (text, expected) in [
        (with("[[stratum]]\nrate = \"1\""), "`name` is missing"),
        (with("[[stratum]]\nname = \"rest\"\nrate = \"1\""), "`name` cannot be `rest`"),
        (
            stratum("rate = \"1\"\n[[stratum]]\nname = \"a\"\nrate = \"1\""),
            "there is another stratum `a`",
        ),
        (stratum(""), "`rate` is missing: the share of the stratum"),
        (stratum("interval = 1000"), "`rate` is missing: the least chance"),
        (
            stratum("interval = 1000\nrate = \"0.1\""),
            "`size` is missing: with an `interval` write size =",
        ),
        (stratum("interval = 0\nrate = \"0.1\""), "`interval` is above 0"),
        (
            stratum("interval = 1000000000001\nrate = \"0.1\""),
            "`interval` is above 0 and at most 1000000000000",
        ),
        (stratum("rate = \"1\"\nroute = \"/trips\""), "is not a route"),
        (
            stratum("rate = \"1\"\nheader = { name = \"x y\", value = \"1\" }"),
            "`x y` is not the name of a field",
        ),
        (stratum("rate = \"1\"\nheader = { name = \"x\" }"), "`value` is missing"),
        (
            stratum("rate = \"1\"\nanswer = { value = \"x\" }"),
            "`path` says which value of the answer is meant",
        ),
        (stratum("rate = \"1\"\nlob = \"Eats\""), "unknown key `lob`"),
        (with(&many.concat()), "there can be at most 64 strata"),
        (
            GOOD.to_owned() + "\n[[stratum]]\nname = \"a\"\nrate = \"0.5\"",
            "`sampling_key` is missing",
        ),
        (GOOD.replace("spool = ", "sampling_unit = \"order_key\"\nspool = "), "needs `order_key`"),
        (
            GOOD.replace("spool = ", "sampling_unit = \"exchange\"\nspool = "),
            "`exchange` is no unit",
        ),
        (
            GOOD.replace("spool = ", "order_key = { header = \"authorization\" }\nspool = "),
            "`authorization` is a credential, which is not recorded",
        ),
        (
            GOOD.replace(
                "spool = ",
                "size = { currency = \"XXY\", rates = { EUR = \"0\" } }\nspool = ",
            ),
            "`XXY` is not a currency",
        ),
        (
            GOOD.replace(
                "spool = ",
                "size = { currency = \"USD\", rates = { EUR = \"0\" } }\nspool = ",
            ),
            "`EUR`: a rate is a decimal above 0",
        ),
    ] {
        let found = mistakes(&text, |_| None).join("\n");
        assert!(found.contains(expected) && !found.contains("s3cret"), "{text}\n{found}");
    }
}

#[test]
fn a_business_key_names_its_places() {
    let with = |line: &str| GOOD.replace("spool = ", &format!("{line}\nspool = "));
    for (line, expected) in [
        ("business_key = { header = \"X-Trip\", json = \"$.id\" }", ""),
        ("business_key = \"x\"", "recorder.business_key must be a table, not string"),
        ("business_key = {}", "name one of `header`, `query`, `path` and `json`"),
        ("business_key = { heder = \"x\" }", "unknown key `heder`; did you mean `header`?"),
        ("business_key = { header = \"a b\" }", "`a b` is not the name of a field"),
        (
            "business_key = { path = \"^/trips\" }",
            "`^/trips` has no group: put the key in parentheses",
        ),
        ("business_key = { path = \"(\" }", "`(` is not a regular expression"),
        ("business_key = { json = \"id\" }", "`id` is not a JSONPath"),
    ] {
        let found = mistakes(&with(line), |_| None).join("\n");
        assert!(
            found.contains(expected) && found.is_empty() == expected.is_empty(),
            "{line}\n{found}"
        );
    }
}

#[test]
fn a_business_key_on_one_side_only_is_a_mistake() {
    let key = "business_key = { header = \"x-trip\" }\n";
    let of_exchanges = GOOD.replace("spool = ", &format!("{key}spool = "));
    let of_calls = format!("{GOOD}{key}");
    for (text, expected) in [
        (&of_exchanges, "[recorder.business_key] needs the `business_key` of an [[upstream]]"),
        (&of_calls, "[[upstream]] fx: `business_key` needs [recorder.business_key]"),
        (&format!("{of_exchanges}{key}"), ""),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("shadow.toml");
        let text = text.replace("name = \"ledger\"", "name = \"ledger\"\nbuild = \"p1\"");
        std::fs::write(&file, text).unwrap();
        let found = sidecar::Config::load(&file, |_| None).err().map(|e| e.to_string());
        let found = found.unwrap_or_default();
        assert!(found.contains(expected) && found.is_empty() == expected.is_empty(), "{found}");
    }
}

#[test]
fn durations_have_a_unit() {
    assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
    assert_eq!(parse_duration("14d"), Ok(Duration::from_hours(14 * 24)));
    for text in [
        "",
        "5",
        "s",
        "-1s",
        "1.5h",
        "1 h",
        "99999999999999999999s",
        "3661d",
        "99999999999999999ms",
    ] {
        assert!(parse_duration(text).is_err(), "{text}");
    }
}

#[test]
fn money_in_the_configuration_is_never_a_float() {
    let file = Path::new("shadow.toml");
    let document =
        Document::parse(file, "[certify]\na = 1000\nb = \"1000.50\"\nc = 1000.5", |_| None)
            .unwrap();
    let mut table = document.section("certify");
    assert_eq!(table.amount("a").unwrap().to_string(), "1000.00");
    assert_eq!(table.amount("b").unwrap().to_string(), "1000.50");
    assert_eq!(table.amount("c"), None);
    let message = document.finish().unwrap_err().to_string();
    assert!(message.contains("shadow.toml:4"), "{message}");
    assert!(message.contains("never a float"), "{message}");
}

#[test]
fn an_origin_has_a_sound_port_or_none() {
    for good in
        ["http://a", "http://a:1", "http://127.0.0.1:8080", "http://[::1]:8080", "http://[::1]"]
    {
        assert!(upstream::Origin::parse(good).is_ok(), "{good}");
    }
    for bad in [
        "http://a:99999",
        "http://a:8O80",
        "http://a:",
        "http://a:0",
        "http://u@a:1",
        "http://a/x",
        "a:1",
        "http://",
    ] {
        assert!(upstream::Origin::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn the_ways_of_egress_are_checked() {
    let ways = "[egress]\nby_host = \"127.0.0.1:9100\"\nproxy = \"127.0.0.1:3128\"\nunknown = \"refuse\"\n";
    assert_eq!(mistakes(&format!("{GOOD}{ways}"), |_| None), Vec::<String>::new());
    let without = GOOD.replace("listen = \"127.0.0.1:9101\"\n", "");
    assert_eq!(mistakes(&format!("{without}{ways}"), |_| None), Vec::<String>::new());
    let found = mistakes(&without, |_| None).join("\n");
    assert!(found.contains("[[upstream]] fx: `listen` is missing"), "{found}");
    let text = ways.replace("refuse", "ask").replace("127.0.0.1:3128", "0.0.0.0:3128");
    let twin = "[[upstream]]\nname = \"rates\"\nforward_to = \"https://other\"\nhosts = [\"FX.internal:80\", \"a b\"]\n";
    let found = mistakes(&format!("{GOOD}{twin}{text}"), |_| None).join("\n");
    for expected in [
        "`proxy` must be a loopback address",
        "`unknown` is `ask`: write \"tunnel\" or \"refuse\"",
        "`fx.internal` is a host of two upstreams",
        "`a b` is not a host",
    ] {
        assert!(found.contains(expected), "{expected}\n--- in\n{found}");
    }
}

#[test]
fn threads_are_counted_and_few() {
    let with =
        |line: &str| GOOD.replace("spool = \"spool\"", &format!("spool = \"spool\"\n{line}"));
    assert_eq!(mistakes(&with("threads = 4\nhand_over = \"run/hand-over\""), |_| None), [""; 0]);
    for (line, expected) in [
        ("threads = 0", "must be a whole number of at least 1"),
        ("threads = 65", "`threads` is at most 64"),
        ("hand_over = 1", "must be a text in quotes"),
    ] {
        let found = mistakes(&with(line), |_| None).join("\n");
        assert!(found.contains(expected), "{found}");
    }
}

#[test]
fn a_store_is_a_directory_or_a_bucket() {
    let with = |keys: &str| GOOD.replace("directory = \"store\"", keys);
    let good = "bucket = \"books\"\nprefix = \"shadow/ledger/\"\nendpoint = \"https://s3.internal:9000\"\nregion = \"eu-central-1\"\npath_style = true\nserver_side_encryption = \"aws:kms\"\nkms_key_id = \"alias/books\"\nconnect_timeout = \"1s\"\nattempt_timeout = \"10s\"\nattempts_max = 5\nmultipart_bytes = 1\npart_bytes = 5242880";
    assert_eq!(mistakes(&with(good), |_| None), Vec::<String>::new());
    for (keys, expected) in [
        ("", "[store]: `directory` or `bucket` is missing"),
        (
            "directory = \"a\"\nbucket = \"books\"",
            "`directory` and `bucket` are two stores: leave one of them out",
        ),
        (
            "directory = \"a\"\nendpoint = \"http://a\"\nregion = \"b\"",
            "[store]: `endpoint`, `region` is for a `bucket`",
        ),
        ("bucket = \"s3://books\"", "`bucket` is the name alone"),
        ("bucket = \"books\"\nprefix = \"../x\"", "`../x` is not a prefix"),
        (
            "bucket = \"books\"\nendpoint = \"s3.internal:9000\"",
            "`s3.internal:9000` is not an endpoint: write http://",
        ),
        ("bucket = \"books\"\nendpoint = \"http://key:secret@s3\"", "is not an endpoint"),
        (
            "bucket = \"books\"\nserver_side_encryption = \"aes\"",
            "`server_side_encryption` is \"AES256\" or \"aws:kms\"",
        ),
        (
            "bucket = \"books\"\nkms_key_id = \"a\"",
            "`kms_key_id` needs server_side_encryption = \"aws:kms\"",
        ),
        (
            "bucket = \"books\"\npart_bytes = 1000",
            "`part_bytes` must be a whole number of at least 5242880",
        ),
        (
            "bucket = \"books\"\nattempts_max = 0",
            "`attempts_max` must be a whole number of at least 1",
        ),
        ("bukket = \"books\"", "unknown key `bukket`; did you mean `bucket`?"),
    ] {
        let found = mistakes(&with(keys), |_| None).join("\n");
        assert!(found.contains(expected), "{expected}\n--- in\n{found}");
        let is_unknown = found.contains("unknown key");
        assert_eq!(is_unknown, keys.starts_with("bukket"), "{found}");
    }
}

#[test]
fn the_environment_says_where_the_bucket_is() {
    let environment = |name: &str| {
        let value = match name {
            "SHADOW_STORE_BUCKET" => "books",
            "SHADOW_STORE_ENDPOINT" => "http://127.0.0.1:3900",
            "SHADOW_STORE_PATH_STYLE" => "true",
            _ => return None,
        };
        Some(value.to_owned())
    };
    let text = "[store]\nprefix = \"ledger\"\npath_style = false\n";
    let document = Document::parse(Path::new("shadow.toml"), text, environment).unwrap();
    let store = super::store::store(&document).unwrap();
    assert_eq!(document.finish().map_err(|e| e.to_string()), Ok(()));
    assert_eq!(store.location("a"), "s3://books/ledger/a");
    let shown = format!("{store:?}");
    assert!(shown.contains("path_style: true") && shown.contains("127.0.0.1:3900"), "{shown}");
    let wrong = |name: &str| (name == "SHADOW_STORE_PATH_STYLE").then(|| "perhaps".to_owned());
    let found = mistakes(&GOOD.replace("directory", "bucket"), wrong).join("\n");
    assert!(found.contains("`path_style` must be true or false"), "{found}");
}

#[test]
fn an_upstream_is_known_by_the_name_that_a_host_field_gives_it() {
    for (forward_to, expected) in [
        ("http://FX.internal:80", "fx.internal"),
        ("https://fx.internal:443", "fx.internal"),
        ("https://fx.internal:80", "fx.internal:80"),
        ("http://fx.internal:8080", "fx.internal:8080"),
        ("http://fx.internal", "fx.internal"),
    ] {
        let text = format!("[[upstream]]\nname = \"fx\"\nforward_to = \"{forward_to}\"\n");
        let document = Document::parse(Path::new("shadow.toml"), &text, |_| None).unwrap();
        assert_eq!(upstream::upstreams(&document)[0].hosts, [expected], "{forward_to}");
    }
}

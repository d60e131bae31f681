use std::io::Write as _;

use acclaim_core::TargetType;
use acclaim_core::port::Ack;

use super::*;

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn of_file(text: &str) -> Result<Loaded, ConfigError> {
    load(Some(file(text).path()), [], &[])
}

fn of_environment(name: &str, value: &str) -> Result<Loaded, ConfigError> {
    load(None, [(name.to_owned(), value.to_owned())], &[])
}

fn source_of(loaded: &Loaded, key: &str) -> Source {
    let listing = loaded.listing();
    let line = listing.into_iter().find(|(name, _, _)| name == key);
    line.map(|(_, _, source)| source).unwrap()
}

#[test]
fn a_flag_beats_the_environment_beats_the_file_beats_the_default() {
    let file = file("[server]\nlisten = \"127.0.0.1:1\"\nlog_level = \"debug\"\ndata = \"a\"\n");
    let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let environment = [
        variable("ACCLAIM_SERVER__LISTEN", "127.0.0.1:2"),
        variable("ACCLAIM_SERVER__LOG_LEVEL", "trace"),
        variable("ACCLAIM_CONFIG", "no key"),
        variable("HOME", "/"),
    ];
    let flag = Override {
        key: "server.listen",
        flag: "--listen",
        value: "127.0.0.1:3".to_owned(),
    };
    let loaded = load(Some(file.path()), environment, &[flag]).unwrap();
    assert_eq!(loaded.config.server.listen.port(), 3);
    assert_eq!(loaded.config.server.log_level, tracing::Level::TRACE);
    assert_eq!(loaded.config.server.data, Path::new("a"));
    assert_eq!(
        source_of(&loaded, "server.listen"),
        Source::Flag("--listen")
    );
    let variable = "ACCLAIM_SERVER__LOG_LEVEL".to_owned();
    assert_eq!(
        source_of(&loaded, "server.log_level"),
        Source::Environment(variable)
    );
    assert_eq!(
        source_of(&loaded, "server.data"),
        Source::File(file.path().to_owned())
    );
    assert_eq!(source_of(&loaded, "engine.cache_bytes"), Source::Default);
}

#[test]
fn unknown_keys_name_the_nearest() {
    let message = |loaded: Result<Loaded, ConfigError>| loaded.unwrap_err().to_string();
    let of_file_message = message(of_file("[server]\nlistne = 1\n"));
    assert!(
        of_file_message.contains("server.listne"),
        "{of_file_message}"
    );
    assert!(
        of_file_message.ends_with("did you mean server.listen?"),
        "{of_file_message}"
    );
    let of_environment = message(of_environment("ACCLAIM_ENGINE__CACHE_BYTE", "1"));
    assert!(of_environment.contains("environment ACCLAIM_ENGINE__CACHE_BYTE"));
    assert!(
        of_environment.contains("did you mean engine.cache_bytes?"),
        "{of_environment}"
    );
    let of_kind = message(of_file("[kinds.claps]\ntarget_type = []\n"));
    assert!(
        of_kind.contains("did you mean kinds.claps.target_types?"),
        "{of_kind}"
    );
    assert!(message(of_file("listen = 1\n")).contains("no key listen"));
    assert!(message(of_file("[zzz]\nqqq = 1\n")).ends_with("no key zzz.qqq"));
}

#[test]
fn wrong_values_say_what_is_allowed() {
    for (text, words) in [
        (
            "[server]\nlisten = 7700\n",
            ["server.listen", "7700", "an address and a port"],
        ),
        (
            "[server]\nlisten = \"here\"\n",
            ["server.listen", "here", "127.0.0.1:7700"],
        ),
        (
            "[server]\nlog_format = \"xml\"\n",
            ["server.log_format", "xml", "auto, text, json"],
        ),
        (
            "[http]\nmax_connections = 0\n",
            ["http.max_connections", "0", "from 1 to 1000000"],
        ),
        (
            "[http]\nmax_connections = \"1\"\n",
            ["http.max_connections", "1", "a whole number"],
        ),
        (
            "[engine]\ncache_bytes = \"64MB\"\n",
            ["engine.cache_bytes", "64MB", "64MiB"],
        ),
        (
            "[engine]\naccept_loss = 1\n",
            ["engine.accept_loss", "1", "true or false"],
        ),
        (
            "[kinds.claps]\ntarget_types = [\"post\"]\n",
            ["kinds.claps.target_types", "post", "A-Z"],
        ),
        (
            "[kinds.claps]\nallow_self = \"yes\"\n",
            ["kinds.claps.allow_self", "yes", "true or false"],
        ),
        ("[kinds]\nclaps = 1\n", ["kinds.claps", "1", "a table"]),
    ] {
        let message = of_file(text).unwrap_err().to_string();
        for word in words {
            assert!(message.contains(word), "{text}: {message}");
        }
    }
    assert!(matches!(
        of_file("[server"),
        Err(ConfigError::Syntax { .. })
    ));
    let missing = load(Some(Path::new("/no/such.toml")), [], &[]);
    assert!(matches!(missing, Err(ConfigError::Unreadable { .. })));
}

#[test]
fn every_key_can_be_set_to_its_default_in_the_file_and_the_environment() {
    for (key, value, source) in load(None, [], &[]).unwrap().listing() {
        assert_eq!(source, Source::Default, "{key}");
        let (section, name) = key.split_once('.').unwrap();
        let loaded = of_file(&format!("[{section}]\n{name} = {value}\n")).unwrap();
        assert!(matches!(source_of(&loaded, &key), Source::File(_)), "{key}");
        let variable = variable_of(&key);
        let loaded = of_environment(&variable, value.trim_matches('"')).unwrap();
        assert_eq!(
            source_of(&loaded, &key),
            Source::Environment(variable),
            "{key}"
        );
        assert_eq!(loaded.config.http, Config::default().http);
        assert_eq!(loaded.config.engine, Config::default().engine);
        assert_eq!(loaded.config.server, Config::default().server);
    }
}

#[test]
fn kinds_come_from_the_file_and_the_environment() {
    let text = "[kinds.dislikes]\ntarget_types = [\"POST\"]\nexcludes = [\"likes\"]\n\
        [kinds.follows]\nallow_self = true\n[kinds.thumbs-up]\n";
    let loaded = of_file(text).unwrap();
    let kinds = loaded.config.kinds().unwrap();
    let dislikes = kinds.get(kinds.find("dislikes").unwrap());
    assert_eq!(
        dislikes.target_types,
        TargetType::parse("POST").ok().map(|t| vec![t])
    );
    assert_eq!(kinds.excluded_by(kinds.find("likes").unwrap()).len(), 1);
    let follows = kinds.get(kinds.find("follows").unwrap());
    assert!(follows.allow_self && follows.is_between_users());
    assert!(kinds.find("thumbs-up").is_some());

    let loaded = of_environment("ACCLAIM_KINDS__THUMBS_UP__TARGET_TYPES", "POST, COMMENT").unwrap();
    let kinds = loaded.config.kinds().unwrap();
    let thumbs = kinds.get(kinds.find("thumbs-up").unwrap());
    assert_eq!(thumbs.target_types.as_ref().map(Vec::len), Some(2));
    assert!(matches!(
        of_file("[kinds.claps]\nexcludes = [\"boos\"]\n"),
        Err(ConfigError::Kinds(_))
    ));
    assert!(matches!(
        of_file("[kinds.Claps]\n"),
        Err(ConfigError::Kinds(_))
    ));
}

#[test]
fn a_kind_has_an_acknowledgement() {
    let ack_of = |loaded: Loaded| {
        let kinds = loaded.config.kinds().unwrap();
        kinds.get(kinds.find("claps").unwrap()).ack
    };
    assert_eq!(ack_of(of_file("[kinds.claps]\n").unwrap()), Ack::Default);
    assert_eq!(
        ack_of(of_file("[kinds.claps]\nack = \"\"\n").unwrap()),
        Ack::Default
    );
    for ack in Ack::NAMED {
        let text = format!("[kinds.claps]\nack = {:?}\n", ack.name());
        assert_eq!(ack_of(of_file(&text).unwrap()), ack);
        let loaded = of_environment("ACCLAIM_KINDS__CLAPS__ACK", ack.name()).unwrap();
        assert_eq!(ack_of(loaded), ack);
    }
    for bad in ["\"safe\"", "1", "\"Ledger\""] {
        let refused = of_file(&format!("[kinds.claps]\nack = {bad}\n"));
        let message = refused.unwrap_err().to_string();
        assert!(
            message.contains("kinds.claps.ack") && message.contains("replica"),
            "{message}"
        );
    }
}

#[test]
fn replicas_of_the_ledger_are_a_list() {
    let urls = ["mysql://me:secret@h:1/db", "mysql://me:secret@h:2/db"];
    let loaded = of_file(&format!("[ledger]\nreplicas = {urls:?}\n")).unwrap();
    assert_eq!(loaded.config.cluster.replicas, urls);
    let shown = (find("ledger.replicas").unwrap().get)(&loaded.config).to_string();
    assert!(
        shown.contains("me:***@h") && !shown.contains("secret"),
        "{shown}"
    );
    let refused = of_file("[ledger]\nreplicas = 1\n").unwrap_err().to_string();
    assert!(refused.contains("a list of at most 16 URLs"), "{refused}");
    let loaded = of_environment("ACCLAIM_LEDGER__REPLICAS", "mysql://a/b,mysql://c/d").unwrap();
    assert_eq!(
        loaded.config.cluster.replicas,
        ["mysql://a/b", "mysql://c/d"]
    );
}

#[test]
fn the_reference_has_every_key() {
    let reference = crate::config::reference();
    for key in keys() {
        assert!(
            reference.contains(&format!("| `{}` |", key.short_name())),
            "{}",
            key.name
        );
        assert!(
            reference.contains(&format!("## `[{}]`", key.section())),
            "{}",
            key.name
        );
    }
}

/// Names of the fields of a struct, as its `Debug` shows them.
fn fields(shown: &str) -> Vec<String> {
    let inside = shown.split_once('{').unwrap().1;
    let pairs = inside.split(", ").filter_map(|pair| pair.split_once(':'));
    pairs.map(|(name, _)| name.trim().to_owned()).collect()
}

#[test]
fn every_limit_of_the_server_and_the_engine_is_a_key() {
    let config = Config::default();
    let sections = [
        ("http", format!("{:?}", config.http)),
        ("engine", format!("{:?}", config.engine)),
        ("server", format!("{:?}", config.server)),
    ];
    for (section, shown) in sections {
        for field in fields(&shown) {
            assert!(
                find(&format!("{section}.{field}")).is_some(),
                "{section}.{field}"
            );
        }
    }
}

use super::*;

fn parse(url: &str) -> BusUrl {
    BusUrl::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"))
}

#[test]
fn a_plain_url_of_each_bus() {
    for (url, kind, hosts) in [
        (
            "kafka://a:1,b,[::1]:3",
            BusKind::Kafka,
            "a:1,b:9092,[::1]:3",
        ),
        ("pulsar://a", BusKind::Pulsar, "a:6650"),
        ("rocketmq://a,b:2", BusKind::RocketMq, "a:9876,b:2"),
        ("redis://[::1]", BusKind::Redis, "[::1]:6379"),
    ] {
        let url = parse(url);
        assert_eq!((url.kind, url.host_list().as_str()), (kind, hosts));
        assert_eq!(
            (url.topic.as_str(), url.dead_topic.as_str()),
            ("acclaim", "acclaim-dead")
        );
        assert_eq!((url.create, url.partitions, url.replicas), (true, 16, None));
        assert_eq!((url.credentials, url.tls), (None, None));
    }
}

#[test]
fn everything_that_can_be_said() {
    let url = parse(
        "kafka://an%3Ana:p%40ss%2F:word@a:1?topic=likes&dead=lost&create=no&partitions=1024&\
         replicas=3&tls=yes&ca=/etc/ca%20s.pem&certificate=/c.pem&key=/k.pem&sasl=scram-sha-512",
    );
    let credentials = url.credentials.unwrap();
    assert_eq!(credentials.user, "an:na");
    assert_eq!(credentials.password, "p@ss/:word");
    assert_eq!(
        (url.topic.as_str(), url.dead_topic.as_str()),
        ("likes", "lost")
    );
    assert_eq!(
        (url.create, url.partitions, url.replicas),
        (false, 1_024, Some(3))
    );
    assert_eq!(url.sasl, Sasl::ScramSha512);
    let tls = Tls {
        ca: Some("/etc/ca s.pem".into()),
        certificate: Some(("/c.pem".into(), "/k.pem".into())),
    };
    assert_eq!(url.tls, Some(tls));
    let url = parse("pulsar://:token@a?topic=likes");
    assert_eq!(url.credentials.unwrap().password, "token");
    assert_eq!(url.dead_topic, "likes-dead");
    for (url, admin) in [
        ("pulsar://a?admin=b", "b:8080"),
        ("pulsar://a?admin=b&tls=yes", "b:8443"),
        ("pulsar://a?admin=[::1]:7", "[::1]:7"),
    ] {
        assert_eq!(parse(url).admin.unwrap().to_string(), admin);
    }
}

#[test]
fn one_redis_with_a_database_and_tls() {
    let url = parse("redis://:secret@a:1/7?topic=likes");
    assert_eq!((url.database, url.tls), (7, None));
    let credentials = url.credentials.unwrap();
    assert_eq!(
        (credentials.user.as_str(), credentials.password.as_str()),
        ("", "secret")
    );
    assert_eq!(parse("redis://a").database, 0);
    assert_eq!(parse("redis://a/").database, 0);
    let url = parse("rediss+sentinel://u:p@a,b:2/main/3?topic=likes");
    assert_eq!((url.master.as_deref(), url.database), (Some("main"), 3));
    assert_eq!(url.host_list(), "a:26379,b:2");
    assert_eq!(
        (url.topic.as_str(), url.tls),
        ("likes", Some(Tls::default()))
    );
    let trusting = Some(Tls {
        ca: Some("/ca".into()),
        certificate: None,
    });
    assert_eq!(parse("rediss://u:p@a?ca=/ca").tls, trusting);
    assert_eq!(parse("redis://a?tls=yes&ca=/ca").tls, trusting);
    assert_eq!(parse("rediss://a?tls=yes").tls, Some(Tls::default()));
}

#[test]
fn an_error_names_the_part() {
    use BusUrlError as Wrong;
    let value = |option, given: &str, expected| Wrong::Value {
        option,
        given: given.to_owned(),
        expected,
    };
    let name = "1 to 127 of A-Z a-z 0-9 - _";
    let long = "x".repeat(128);
    let cases = [
        ("", Wrong::Scheme),
        ("a:9092", Wrong::Scheme),
        ("amqp://a", Wrong::Scheme),
        ("kafka+ssl://a", Wrong::Scheme),
        ("redis+other://a", Wrong::Scheme),
        ("redis+cluster://a,b", Wrong::Cluster("redis+cluster")),
        ("rediss+cluster://a", Wrong::Cluster("rediss+cluster")),
        ("redis+sentinel://a,b", Wrong::MasterName),
        ("redis+sentinel://a/?topic=b", Wrong::MasterName),
        ("redis+sentinel://a/main/x", Wrong::Database),
        ("redis://a,b", Wrong::Hosts(2)),
        ("redis://a/x", Wrong::Database),
        ("redis://a/65536", Wrong::Database),
        (
            "redis://u@a",
            Wrong::HalfCredentials("a user", "a password"),
        ),
        (
            "rediss://a?tls=no",
            value("tls", "no", "yes or not there, as the scheme says TLS"),
        ),
        ("kafka://u:%ff@a", Wrong::Credentials),
        ("kafka://u:a%00@a", Wrong::Credentials),
        ("kafka://u:pa/ss@a", Wrong::Credentials),
        (
            "kafka://u@a",
            Wrong::HalfCredentials("a user", "a password"),
        ),
        (
            "kafka://:p@a",
            Wrong::HalfCredentials("a password", "a user"),
        ),
        (
            "rocketmq://:p@a",
            Wrong::HalfCredentials("a password", "a user"),
        ),
        ("kafka://a/topic", Wrong::Path('/')),
        ("kafka://a#b", Wrong::Path('#')),
        ("kafka://a?topic=b#c", Wrong::Path('#')),
        ("kafka://", Wrong::Host(AddressError::Host(1))),
        ("kafka://a,,b", Wrong::Host(AddressError::Host(2))),
        ("kafka://a:x", Wrong::Host(AddressError::Port(1))),
        ("kafka://a,b:0", Wrong::Host(AddressError::Port(2))),
        ("kafka://a:65536", Wrong::Host(AddressError::Port(1))),
        (
            "kafka://a?acks=1",
            Wrong::Option {
                given: "acks".to_owned(),
            },
        ),
        ("kafka://a?tls=no&tls=yes", Wrong::Twice("tls")),
        (
            "pulsar://a?sasl=plain",
            Wrong::NotOfThisBus {
                option: "sasl",
                kind: BusKind::Pulsar,
            },
        ),
        (
            "rocketmq://a?replicas=2",
            Wrong::NotOfThisBus {
                option: "replicas",
                kind: BusKind::RocketMq,
            },
        ),
        (
            "kafka://a?admin=b",
            Wrong::NotOfThisBus {
                option: "admin",
                kind: BusKind::Kafka,
            },
        ),
        (
            "pulsar://a?admin=http://b",
            value(
                "admin",
                "http://b",
                "a host, or a host and a port: host:8080",
            ),
        ),
        (
            "kafka://a?sasl=plain",
            Wrong::Needs("sasl", "a user and a password"),
        ),
        (
            "kafka://u:p@a?sasl=md5",
            value("sasl", "md5", "plain, scram-sha-256 or scram-sha-512"),
        ),
        ("kafka://a?topic=a.b", value("topic", "a.b", name)),
        (
            "kafka://a?topic",
            value("topic", "", "not empty, and UTF-8 in percent-encoding"),
        ),
        ("kafka://a?create=1", value("create", "1", "yes or no")),
        (
            "kafka://a?partitions=0",
            value("partitions", "0", "a number from 1 to 1024"),
        ),
        (
            "kafka://a?partitions=1025",
            value("partitions", "1025", "a number from 1 to 1024"),
        ),
        (
            "kafka://a?replicas=33",
            value("replicas", "33", "a number from 1 to 32"),
        ),
        ("kafka://a?ca=/ca.pem", Wrong::Needs("ca", "tls=yes")),
        ("kafka://a?tls=no&key=/k", Wrong::Needs("key", "tls=yes")),
        (
            "kafka://a?tls=yes&key=/k",
            Wrong::Needs("key", "certificate"),
        ),
        (
            "kafka://a?tls=yes&certificate=/c",
            Wrong::Needs("certificate", "key"),
        ),
    ];
    for (url, wrong) in cases {
        assert_eq!(BusUrl::parse(url), Err(wrong), "{url}");
    }
    let url = format!("kafka://a?dead={long}");
    assert_eq!(BusUrl::parse(&url), Err(value("dead", &long, name)));
    assert!(BusUrl::parse(&format!("kafka://a?dead={}", &long[1..])).is_ok());
}

#[test]
fn no_password_is_shown() {
    for url in [
        "kafka://user:hunter2@a",
        "kafka://user:hunter2@a?topic=b",
        "kafka://user:hunter2/hunter2@a:x",
        "kafka://user:hun@hunter2@a:x",
        "kafka://user:hunter2?@a",
        "pulsar://:hunter2@a,b?tls=maybe",
        "rocketmq://user:hunter2",
        "kafka://:hunter2@a",
        "redis://:hunter2@a/x",
        "rediss://user:hunter2@a,b",
        "redis+cluster://:hunter2@a",
        "redis+sentinel://:hunter2@a",
        "redis+sentinel://user:hunter2/main",
        "redis://user:hunter2",
        "redis://user:1/hunter2",
    ] {
        let shown = match BusUrl::parse(url) {
            Ok(parsed) => format!("{parsed:?} {}", parsed.host_list()),
            Err(error) => format!("{error:?} {error}"),
        };
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

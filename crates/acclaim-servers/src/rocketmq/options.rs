//! How a RocketMQ is to be configured.

use std::path::Path;

use crate::certificate::Certificates;

/// Where both programs read how they speak TLS.
pub(super) const TLS_CONFIGURATION_FILE: &str = "tls.properties";
/// What the harness asks a broker, whoever its users are: to tell the name server of itself, to make
/// a topic.
const ANYBODY_MAY_ASK: &str = "25,17";

/// How a RocketMQ is to be configured. By default anybody may do anything, and a topic or a group
/// that a client names comes into being.
#[derive(Clone, Debug, Default)]
pub struct RocketMqOptions {
    pub(super) settings: String,
    pub(super) tls: bool,
}

impl RocketMqOptions {
    /// A topic that a client names has to be there.
    pub fn without_auto_create(self) -> Self {
        self.set("autoCreateTopicEnable", "false")
    }

    /// A group that a client names has to be there.
    pub fn without_auto_create_of_groups(self) -> Self {
        self.set("autoCreateSubscriptionGroup", "false")
    }

    /// The broker takes only this user, who may do everything. Name and password are of letters and
    /// digits. The name server takes everybody: it knows no users.
    pub fn user(self, name: &str, password: &str) -> Self {
        let auth = "org.apache.rocketmq.auth.authentication.provider";
        let user = format!(r#"{{"username":"{name}","password":"{password}"}}"#);
        let inner = format!(r#"{{"accessKey":"{name}","secretKey":"{password}"}}"#);
        self.set("authenticationEnabled", "true")
            .set(
                "authenticationProvider",
                &format!("{auth}.DefaultAuthenticationProvider"),
            )
            .set(
                "authenticationMetadataProvider",
                &format!("{auth}.LocalAuthenticationMetadataProvider"),
            )
            .set("initAuthenticationUser", &user)
            .set("innerClientAuthenticationCredentials", &inner)
            .set("authenticationWhitelist", ANYBODY_MAY_ASK)
    }

    /// Both speak TLS too, with certificates made for them: [`super::RocketMq::certificates`].
    /// Plain text is still taken, which the harness speaks, and the broker to the name server.
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// Any other line of the broker's configuration.
    pub fn set(mut self, setting: &str, value: &str) -> Self {
        self.settings.push_str(&format!("{setting}={value}\n"));
        self
    }
}

/// Writes certificates and what says where they are.
pub(super) fn write_tls(directory: &Path, certificates: &Certificates) -> std::io::Result<()> {
    certificates.write_to(directory)?;
    let file = |name: &str| directory.join(name).display().to_string();
    let lines = [
        "tls.test.mode.enable=false".to_owned(),
        "tls.server.need.client.auth=none".to_owned(),
        "tls.server.authClient=false".to_owned(),
        format!(
            "tls.server.certPath={}",
            file(Certificates::CERTIFICATE_FILE)
        ),
        format!("tls.server.keyPath={}", file(Certificates::KEY_FILE)),
    ];
    std::fs::write(directory.join(TLS_CONFIGURATION_FILE), lines.join("\n"))
}

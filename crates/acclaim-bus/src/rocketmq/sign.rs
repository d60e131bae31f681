//! Requests that say who asks: an access key, and a signature by the secret key that goes with it
//! (HMAC-SHA1 over the values of all fields in the order of their names, then the body). The secret
//! itself never travels.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

use super::connection::Request;
use super::failure::Failure;
use crate::url::Credentials;

/// Signs a request.
pub fn sign(request: &mut Request, credentials: &Credentials) -> Result<(), Failure> {
    let user = credentials.user.clone();
    request.fields.insert("AccessKey".to_owned(), user);
    let mut mac = Hmac::<Sha1>::new_from_slice(credentials.password.as_bytes())
        .map_err(|error| Failure::Distrust(error.to_string()))?;
    for value in request.fields.values() {
        mac.update(value.as_bytes());
    }
    mac.update(&request.body);
    let signature = STANDARD.encode(mac.finalize().into_bytes());
    request.fields.insert("Signature".to_owned(), signature);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_signed_and_say_no_password() {
        let credentials = Credentials {
            user: "anna".to_owned(),
            password: "secret".to_owned(),
        };
        let mut request = Request::new(1, [("topic", "t".to_owned())]).body(b"x".to_vec());
        sign(&mut request, &credentials).unwrap();
        assert_eq!(request.fields["AccessKey"], "anna");
        // printf annatx | openssl dgst -sha1 -hmac secret -binary | base64
        assert_eq!(request.fields["Signature"], "oJQvOmR23b2lGAuqgnGI3adq7AY=");
        assert!(
            !request
                .fields
                .values()
                .any(|value| value.contains("secret"))
        );
    }
}

//! Tokens: signed ones for access and company context, opaque ones for refresh and e-mail.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use kernel::app::App;
use kernel::clock::Clock;
use kernel::error::{Error, Result, UNAUTHENTICATED};
use kernel::keys::{Digest32, mac, sha256};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

const ISSUER: &str = "ally360";
const AUDIENCE: &str = "ally360-api";
/// Clocks of two machines may differ by this many seconds.
const LEEWAY: i64 = 30;

/// What a signed token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A signed-in user.
    Access,
    /// A signed-in user who has selected a company.
    Context,
}

/// Claims of our tokens.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    pub typ: Kind,
    /// User.
    pub sub: Uuid,
    /// Session.
    pub sid: Uuid,
    /// Company, in a context token only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<Uuid>,
    iss: String,
    aud: String,
    iat: i64,
    nbf: i64,
    exp: i64,
    jti: Uuid,
}

/// Signs and verifies; the algorithm is pinned to HS256. The `kid` of a token chooses among our keys,
/// and nothing else: when the secret is replaced, what the one before signed lives on until it expires.
pub struct Tokens {
    header: Header,
    signing: EncodingKey,
    /// By `kid`; the present key and the earlier ones.
    verifying: Vec<(String, DecodingKey)>,
    validation: Validation,
    /// The present key first.
    refresh_keys: Vec<Digest32>,
    clock: Clock,
    lifetime: i64,
}

impl Tokens {
    pub fn new(app: &App) -> Tokens {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["iss", "aud", "exp", "nbf", "sub"]);
        // Checked in `verify` against our clock, which tests can move.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        let verifying: Vec<_> = app
            .keys
            .secrets()
            .map(|(kid, secret)| (kid, DecodingKey::from_secret(secret)))
            .collect();
        let mut header = Header::new(Algorithm::HS256);
        header.kid = verifying.first().map(|(kid, _)| kid.clone());
        Tokens {
            header,
            signing: EncodingKey::from_secret(app.keys.secret()),
            verifying,
            validation,
            refresh_keys: app.keys.derive_all("refresh token"),
            clock: app.clock.clone(),
            lifetime: app.config.auth.access_token_expire_minutes * 60,
        }
    }

    /// Seconds that an access or context token lives.
    pub fn lifetime(&self) -> i64 {
        self.lifetime
    }

    /// Signs a token for the user's session; with a company it is a context token.
    ///
    /// # Errors
    /// Never in practice: signing of HS256 cannot fail.
    pub fn sign(&self, user: Uuid, session: Uuid, tenant: Option<Uuid>) -> Result<String> {
        let now = self.clock.unix();
        let claims = Claims {
            typ: if tenant.is_some() {
                Kind::Context
            } else {
                Kind::Access
            },
            sub: user,
            sid: session,
            tenant_id: tenant,
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.to_owned(),
            iat: now,
            nbf: now,
            exp: now + self.lifetime,
            jti: kernel::ids::new_id(),
        };
        jsonwebtoken::encode(&self.header, &claims, &self.signing).map_err(Error::internal)
    }

    /// Checks signature, issuer, audience, kind and time.
    ///
    /// # Errors
    /// `unauthenticated` for anything that is not one of our live tokens.
    pub fn verify(&self, token: &str) -> Result<Claims> {
        let denied = || Error::new(&UNAUTHENTICATED);
        let header = jsonwebtoken::decode_header(token).map_err(|_| denied())?;
        let (_, key) = self
            .verifying
            .iter()
            .find(|(kid, _)| header.kid.as_ref() == Some(kid))
            .ok_or_else(denied)?;
        let claims = jsonwebtoken::decode::<Claims>(token, key, &self.validation)
            .map_err(|_| denied())?
            .claims;
        let now = self.clock.unix();
        let live = claims.nbf <= now + LEEWAY && now - LEEWAY < claims.exp;
        let fits_kind = claims.tenant_id.is_some() == (claims.typ == Kind::Context);
        if live && fits_kind {
            Ok(claims)
        } else {
            Err(denied())
        }
    }

    /// The one successor of a refresh token. Derived, so that a client whose answer was lost gets the
    /// same successor when it asks again within the grace, and a family never has two live tokens.
    pub fn successor(&self, refresh_token: &str) -> String {
        derived(&self.refresh_keys[0], &[refresh_token.as_bytes()])
    }

    /// The successors that a refresh token may have been given, the last by the earliest key.
    pub fn successors(&self, refresh_token: &str) -> Vec<String> {
        let keys = self.refresh_keys.iter();
        keys.map(|key| derived(key, &[refresh_token.as_bytes()]))
            .collect()
    }
}

/// A token that who has the key can make again.
pub fn derived(key: &Digest32, parts: &[&[u8]]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(mac(key, parts))
}

/// A fresh opaque token: 256 random bits.
pub fn opaque() -> String {
    BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

/// What is stored of an opaque token. Looking it up by hash needs no constant-time comparison.
pub fn hash(token: &str) -> Vec<u8> {
    sha256(token.as_bytes()).to_vec()
}

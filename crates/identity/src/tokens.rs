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

/// Signs and verifies; the algorithm is pinned to HS256.
pub struct Tokens {
    signing: EncodingKey,
    verifying: DecodingKey,
    validation: Validation,
    refresh_key: Digest32,
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
        Tokens {
            signing: EncodingKey::from_secret(app.keys.secret()),
            verifying: DecodingKey::from_secret(app.keys.secret()),
            validation,
            refresh_key: app.keys.derive("refresh token"),
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
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.signing).map_err(Error::internal)
    }

    /// Checks signature, issuer, audience, kind and time.
    ///
    /// # Errors
    /// `unauthenticated` for anything that is not one of our live tokens.
    pub fn verify(&self, token: &str) -> Result<Claims> {
        let denied = || Error::new(&UNAUTHENTICATED);
        let claims = jsonwebtoken::decode::<Claims>(token, &self.verifying, &self.validation)
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
        BASE64_URL_SAFE_NO_PAD.encode(mac(&self.refresh_key, &[refresh_token.as_bytes()]))
    }
}

/// A fresh opaque token: 256 random bits.
pub fn opaque() -> String {
    BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

/// What is stored of an opaque token. Looking it up by hash needs no constant-time comparison.
pub fn hash(token: &str) -> Vec<u8> {
    sha256(token.as_bytes()).to_vec()
}

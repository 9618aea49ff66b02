//! A signed-in HTTP client.

use std::fmt;
use std::time::{Duration, Instant};

use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::Value;

use super::{COMPANY, OWNER, PASSWORD};

/// Calls the API of one address as one user in one company.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    url: String,
    pub token: String,
    company: String,
}

/// An answer that has arrived whole.
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

/// Short enough for the message of a failed assertion.
impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text: String = self.text.chars().take(500).collect();
        write!(f, "{} {:?} {text}", self.status, self.headers)
    }
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).expect("JSON")
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().expect("text"))
    }

    /// `"503 unavailable"`; asserts that the body is a problem.
    #[track_caller]
    pub fn problem(&self) -> String {
        assert_eq!(
            self.header("content-type"),
            "application/problem+json",
            "{self:?}"
        );
        format!(
            "{} {}",
            self.status,
            self.json()["code"].as_str().expect("a code")
        )
    }

    /// Asserts the status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Answer {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }
}

impl Client {
    /// The supermarket's owner.
    pub async fn owner(url: &str) -> Client {
        Client::sign_in(url, OWNER, COMPANY).await
    }

    /// A demo user.
    pub async fn sign_in(url: &str, email: &str, company: &str) -> Client {
        let mut client = Client::anonymous(url);
        company.clone_into(&mut client.company);
        let form = [("username", email), ("password", PASSWORD)];
        // Just started on a busy machine, its first connection may take too long.
        let began = Instant::now();
        let answer = loop {
            let login = client.http.post(format!("{url}/auth/login")).form(&form);
            let response = login.send().await.expect("an answer");
            let answer = whole(response).await.expect("a whole answer");
            if answer.status != 503 || began.elapsed() > Duration::from_secs(30) {
                break answer.expect(200);
            }
        };
        client.token = answer.json()["access_token"]
            .as_str()
            .expect("a token")
            .to_owned();
        client
    }

    /// Nobody.
    pub fn anonymous(url: &str) -> Client {
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(20))
            .no_proxy()
            .build()
            .expect("a client");
        Client {
            http,
            url: url.to_owned(),
            token: String::new(),
            company: String::new(),
        }
    }

    /// Where it calls.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The same user at another process.
    pub fn at(&self, url: &str) -> Client {
        Client {
            url: url.to_owned(),
            ..self.clone()
        }
    }

    /// The same user on a new connection for every request.
    pub fn without_keep_alive(&self) -> Client {
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(20))
            .no_proxy()
            .pool_max_idle_per_host(0);
        Client {
            http: http.build().expect("a client"),
            ..self.clone()
        }
    }

    /// A request with the user's token and company.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.url));
        if self.token.is_empty() {
            request
        } else {
            request
                .bearer_auth(&self.token)
                .header("x-company-id", &self.company)
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path))
            .await
            .expect("an answer")
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::POST, path).json(body))
            .await
            .expect("an answer")
    }

    /// # Errors
    /// When no whole answer came.
    pub async fn send(&self, request: reqwest::RequestBuilder) -> reqwest::Result<Answer> {
        whole(request.send().await?).await
    }
}

async fn whole(response: reqwest::Response) -> reqwest::Result<Answer> {
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Ok(Answer {
        status,
        headers,
        text: String::from_utf8_lossy(&response.bytes().await?).into_owned(),
    })
}

//! A caller of the API under test.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};

use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::response::Response;
use futures::{StreamExt, stream};
use http::{HeaderMap, Method, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceExt};
use uuid::Uuid;

use crate::{ApiService, TestApp};

/// Somebody who calls the API: a token, a company, both or neither.
#[derive(Clone)]
pub struct Client {
    service: ApiService,
    pub token: String,
    pub refresh_token: String,
    pub user_id: Uuid,
    pub email: String,
    company: Option<Uuid>,
    address: Option<IpAddr>,
    headers: Vec<(String, String)>,
}

/// What the API answered.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// The body if it is JSON, else null.
    pub json: Value,
}

impl Client {
    /// A caller without a token of a process that the test made itself.
    pub fn of<S>(service: S) -> Client
    where
        S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + Sync + 'static,
        S::Future: Send,
    {
        Client::new(BoxCloneSyncService::new(service))
    }

    pub(crate) fn new(service: ApiService) -> Client {
        let nobody = String::new;
        Client {
            service,
            token: nobody(),
            refresh_token: nobody(),
            user_id: Uuid::nil(),
            email: nobody(),
            company: None,
            address: None,
            headers: vec![],
        }
    }

    /// The company this client acts in.
    pub fn company(&self) -> Uuid {
        self.company.expect("a client in a company")
    }

    /// The same caller naming this company.
    pub fn in_company(&self, company: Uuid) -> Client {
        Client {
            company: Some(company),
            ..self.clone()
        }
    }

    /// The same caller naming no company.
    pub fn without_company(&self) -> Client {
        Client {
            company: None,
            ..self.clone()
        }
    }

    /// The same caller at another process.
    pub fn on(&self, process: &TestApp) -> Client {
        Client {
            service: process.service.clone(),
            ..self.clone()
        }
    }

    /// The same caller with another token.
    pub fn with_token(&self, token: &str) -> Client {
        Client {
            token: token.to_owned(),
            ..self.clone()
        }
    }

    /// The same caller at this address of the network.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn from_address(&self, address: &str) -> Client {
        Client {
            address: Some(address.parse().expect("an address")),
            ..self.clone()
        }
    }

    /// The same caller sending one more header.
    pub fn with_header(&self, name: &str, value: &str) -> Client {
        let mut client = self.clone();
        client.headers.push((name.to_owned(), value.to_owned()));
        client
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, Some(&body)).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        self.send(Method::PATCH, path, Some(&body)).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.send(Method::PUT, path, Some(&body)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, None).await
    }

    /// Sends a form.
    pub async fn post_form(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        self.raw(
            Method::POST,
            path,
            Some(("application/x-www-form-urlencoded", body.into_bytes())),
        )
        .await
    }

    /// Sends any method, with a JSON body if there is one.
    pub async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        self.raw(
            method,
            path,
            body.map(|body| ("application/json", body.to_string().into_bytes())),
        )
        .await
    }

    /// Sends a body of any type.
    pub async fn raw(&self, method: Method, path: &str, body: Option<(&str, Vec<u8>)>) -> Answer {
        let body = body.map(|(content_type, bytes)| (content_type, Body::from(bytes)));
        answer(self.ask(method, path, body).await).await
    }

    /// Posts JSON, the last byte only after something else has happened.
    pub async fn post_slowly(
        &self,
        path: &str,
        body: Value,
        meanwhile: impl Future<Output = ()> + Send + 'static,
    ) -> Answer {
        let mut begin = body.to_string();
        let end = begin.split_off(begin.len() - 1);
        let end = async move {
            meanwhile.await;
            Ok::<_, Infallible>(end)
        };
        let parts = stream::once(async { Ok(begin) }).chain(stream::once(end));
        let body = ("application/json", Body::from_stream(parts));
        answer(self.ask(Method::POST, path, Some(body)).await).await
    }

    /// Gets what goes on being answered; dropping it is leaving.
    pub async fn open(&self, path: &str) -> Response {
        self.ask(Method::GET, path, None).await
    }

    async fn ask(&self, method: Method, path: &str, body: Option<(&str, Body)>) -> Response {
        let mut request = Request::builder().method(method).uri(path);
        if !self.token.is_empty() {
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", self.token));
        }
        if let Some(company) = self.company {
            request = request.header("X-Company-ID", company.to_string());
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let request = match body {
            Some((content_type, body)) => request.header(header::CONTENT_TYPE, content_type).body(body),
            None => request.body(Body::empty()),
        };
        let mut request = request.expect("request");
        if let Some(address) = self.address {
            request
                .extensions_mut()
                .insert(ConnectInfo(SocketAddr::new(address, 1)));
        }
        let response = self.service.clone().oneshot(request).await;
        response.unwrap_or_else(|never| match never {})
    }
}

async fn answer(response: Response) -> Answer {
    let (parts, body) = response.into_parts();
    let body = body.collect().await.expect("body").to_bytes().to_vec();
    let json = serde_json::from_slice(&body).unwrap_or_default();
    Answer {
        status: parts.status,
        headers: parts.headers,
        body,
        json,
    }
}

impl Answer {
    /// Asserts 200.
    #[track_caller]
    pub fn ok(self) -> Answer {
        self.status(200)
    }

    /// Asserts 201.
    #[track_caller]
    pub fn created(self) -> Answer {
        self.status(201)
    }

    /// Asserts a status.
    #[track_caller]
    pub fn status(self, expected: u16) -> Answer {
        assert_eq!(self.status.as_u16(), expected, "{}", self.text());
        self
    }

    /// Asserts a problem: its status and code.
    #[track_caller]
    pub fn problem(self, status: u16, code: &str) -> Answer {
        assert_eq!(
            (self.status.as_u16(), self.json["code"].as_str()),
            (status, Some(code)),
            "{}",
            self.text()
        );
        assert_eq!(self.header("content-type"), "application/problem+json");
        self
    }

    /// `409 brand-name-taken` for a problem, `201` for anything else.
    pub fn summary(&self) -> String {
        match self.json["code"].as_str() {
            Some(code) if !self.status.is_success() => format!("{} {code}", self.status.as_u16()),
            _ => self.status.as_u16().to_string(),
        }
    }

    /// `id` of the answered resource.
    #[track_caller]
    pub fn id(&self) -> String {
        self.json["id"]
            .as_str()
            .unwrap_or_else(|| panic!("no id in {}", self.text()))
            .to_owned()
    }

    /// A header's value, empty when absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|v| v.to_str().ok())
            .unwrap_or_default()
    }

    /// The values of a field of all items of a list.
    #[track_caller]
    pub fn items(&self, field: &str) -> Vec<String> {
        let items = self.json["items"]
            .as_array()
            .unwrap_or_else(|| panic!("no items in {}", self.text()));
        items
            .iter()
            .map(|item| {
                item[field]
                    .as_str()
                    .map_or_else(|| item[field].to_string(), ToOwned::to_owned)
            })
            .collect()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

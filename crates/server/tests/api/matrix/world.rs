//! The API under test, its operations, and companies that own one of everything.

use std::collections::BTreeMap;

use http::Method;
use serde_json::Value;
use testkit::{Answer, Client, TestApp};
use uuid::Uuid;

use super::bodies::{Bodies, Owner};
use super::operations::Operation;
use super::seeds::{FREE, JOINING, SEEDS, seed};

/// See the module.
pub struct World {
    pub app: TestApp,
    pub operations: Vec<Operation>,
    pub bodies: Bodies,
}

/// A company that owns at least two of each resource, and one that is deleted.
pub struct Tenant {
    pub client: Client,
    pub owner: Owner,
}

/// One request, ready to be sent by anybody.
#[derive(Clone)]
pub struct Call {
    pub method: Method,
    pub path: String,
    pub body: Option<Value>,
    form: bool,
}

impl World {
    pub async fn new() -> World {
        // Streams of events end with what is there.
        let at_once = |files: &mut files::Files| files.config.file_events_seconds = 0;
        World::on(TestApp::with_files(server::service, |_| {}, at_once).await)
    }

    /// The world of an API that runs.
    pub fn on(app: TestApp) -> World {
        let document = server::openapi_document();
        let operations = Operation::all(&document);
        let bodies = Bodies::new(document);
        for operation in operations.iter().filter(|o| o.is_business()) {
            let in_body = operation
                .body
                .iter()
                .flat_map(|(_, schema)| bodies.references(schema))
                .map(|(_, name)| name);
            let in_query = operation
                .query_parameters
                .iter()
                .map(|(name, _)| name.clone())
                .filter(|name| name.ends_with("_id") && !FREE.contains(&name.as_str()));
            for name in operation
                .path_parameters
                .iter()
                .cloned()
                .chain(in_body)
                .chain(in_query)
            {
                let id = &operation.id;
                assert!(
                    seed(&name).is_some(),
                    "no Seed for `{name}` of {id}: add one to matrix/seeds.rs"
                );
            }
        }
        World {
            app,
            operations,
            bodies,
        }
    }

    /// The operations on a company's data.
    pub fn business(&self) -> impl Iterator<Item = &Operation> {
        self.operations.iter().filter(|o| o.is_business())
    }

    pub fn operation(&self, id: &str) -> &Operation {
        self.operations
            .iter()
            .find(|o| o.id == id)
            .unwrap_or_else(|| panic!("no operation `{id}`"))
    }

    /// A new company with resources. Every text that it owns carries a random marker.
    pub async fn tenant(&self) -> Tenant {
        let marker = format!("zq{}", &Uuid::new_v4().simple().to_string()[..12]);
        let client = self.app.tenant(&marker).await;
        let ids = BTreeMap::from([
            ("company_id".to_owned(), client.company().to_string()),
            ("session_id".to_owned(), session_of(&client)),
        ]);
        let mut tenant = Tenant {
            client,
            owner: Owner { marker, ids },
        };
        for seed in SEEDS {
            let [kept, _, deleted] = [
                self.create(&tenant.client, &tenant.owner, seed.create).await,
                self.create(&tenant.client, &tenant.owner, seed.create).await,
                self.create(&tenant.client, &tenant.owner, seed.create).await,
            ];
            self.delete(&tenant.client, &tenant.owner, seed.parameter, &deleted)
                .await;
            tenant.owner.ids.insert(seed.parameter.to_owned(), kept);
            if seed.parameter == "file_id" {
                self.processed(&tenant).await;
            }
        }
        self.ran(&tenant).await;
        self.used(&tenant).await;
        self.told(&tenant).await;
        let keyed = tenant.client.with_header("Idempotency-Key", "\"of the world\"");
        let category = self.call(self.operation("create_category"), &tenant.owner);
        category.by(&keyed).await.created();
        tenant
    }

    /// Makes the company's file a picture that is ready: only a worker writes that.
    async fn processed(&self, tenant: &Tenant) {
        let id: Uuid = tenant.owner.ids["file_id"].parse().expect("an id");
        sqlx::query(
            "update ally.files
                set state = 'ready', reserved = 0, size = 1, sha256 = sha256(''), scanned_by = 'test', key = id::text,
                    variants = '[{\"name\": \"thumb_160\", \"content_type\": \"image/webp\", \"width\": 1, \"height\": 1, \"size\": 1}]'
              where id = $1",
        )
        .bind(id)
        .execute(&mut self.app.superuser().await)
        .await
        .expect("a file");
    }

    /// Gives the company's job a past: only a worker writes that.
    async fn ran(&self, tenant: &Tenant) {
        let id: Uuid = tenant.owner.ids["job_id"].parse().expect("an id");
        sqlx::query(
            "insert into ally.job_runs (tenant_id, job_id, attempt, queue, name, outcome, enqueued_at, started_at, finished_at)
             values ($1, $2, 1, 'files', 'files.await_upload', 'done', now(), now(), now())",
        )
        .bind(tenant.client.company())
        .bind(id)
        .execute(&mut self.app.superuser().await)
        .await
        .expect("a run");
    }

    /// Gives the company's API key a past.
    async fn used(&self, tenant: &Tenant) {
        let id: Uuid = tenant.owner.ids["api_key_id"].parse().expect("an id");
        sqlx::query("insert into ally.api_key_uses (tenant_id, key_id, last_used_at) values ($1, $2, now())")
            .bind(tenant.client.company())
            .bind(id)
            .execute(&mut self.app.superuser().await)
            .await
            .expect("a use");
    }

    /// Has the company's owner told of malware.
    async fn told(&self, tenant: &Tenant) {
        sqlx::query("insert into ally.malware_alarms (tenant_id, user_id, told_at) values ($1, $2, now())")
            .bind(tenant.client.company())
            .bind(tenant.client.user_id)
            .execute(&mut self.app.superuser().await)
            .await
            .expect("an alarm");
    }

    /// Creates a resource; its id.
    pub async fn create(&self, client: &Client, owner: &Owner, operation: &str) -> String {
        if operation == JOINING {
            return self.app.member(client, "viewer").await.user_id.to_string();
        }
        let answer = self.call(self.operation(operation), owner).by(client).await;
        let body = &answer.json;
        let id = [&body["id"], &body["file_id"], &body["items"][0]["id"]]
            .into_iter()
            .find_map(Value::as_str);
        id.unwrap_or_else(|| panic!("{operation} gave none: {}", answer.text()))
            .to_owned()
    }

    /// Deletes a resource, if such can be deleted.
    async fn delete(&self, client: &Client, owner: &Owner, parameter: &str, id: &str) {
        let ends = format!("/{{{parameter}}}");
        if let Some(delete) = self
            .operations
            .iter()
            .find(|o| o.method == Method::DELETE && o.path.ends_with(&ends))
        {
            let owner = owner.with(parameter, id);
            let url = delete.url(|name| owner.ids[name].clone());
            client.delete(&url).await.status(204);
        }
    }

    /// Who sends a request that will succeed: the client, or his [`stand_in`](World::stand_in).
    pub async fn sender(&self, operation: &Operation, client: &Client) -> Client {
        self.stand_in(operation, client)
            .await
            .unwrap_or_else(|| client.clone())
    }

    /// For what ends the caller's own rights: somebody new with the same role.
    pub async fn stand_in(&self, operation: &Operation, client: &Client) -> Option<Client> {
        if !["leave_company", "transfer_ownership"].contains(&operation.id.as_str()) {
            return None;
        }
        let role: String =
            sqlx::query_scalar("select role from ally.memberships where tenant_id = $1 and user_id = $2")
                .bind(client.company())
                .bind(client.user_id)
                .fetch_one(&mut self.app.superuser().await)
                .await
                .expect("a member");
        Some(self.app.member(client, &role).await)
    }

    /// A request with the owner's ids and a valid body.
    pub fn call(&self, operation: &Operation, owner: &Owner) -> Call {
        let body = operation.body.as_ref();
        Call {
            method: operation.method.clone(),
            path: operation.url(|name| owner.ids[name].clone()),
            body: body.map(|(_, schema)| self.bodies.sample(schema, owner)),
            form: body.is_some_and(|(media, _)| media.ends_with("urlencoded")),
        }
    }

    /// A request that will succeed, once: on resources of its own, deleted when it restores them.
    pub async fn valid_call(&self, operation: &Operation, tenant: &Tenant) -> Call {
        let mut owner = tenant.owner.clone();
        for parameter in &operation.path_parameters {
            let seed = seed(parameter).expect("checked for all operations");
            let id = self.create(&tenant.client, &owner, seed.create).await;
            if operation.path.ends_with("/restore") {
                self.delete(&tenant.client, &owner, parameter, &id).await;
            }
            owner.ids.insert(parameter.clone(), id);
        }
        self.call(operation, &owner)
    }
}

/// The session of a signed-in client.
pub fn session_of(client: &Client) -> String {
    let claims = crate::identity::claims(&client.token);
    claims["sid"].as_str().expect("a session").to_owned()
}

impl Owner {
    /// The same with another id.
    pub fn with(&self, parameter: &str, id: &str) -> Owner {
        let mut owner = self.clone();
        owner.ids.insert(parameter.to_owned(), id.to_owned());
        owner
    }

    /// The same with ids that name nothing.
    pub fn random(&self) -> Owner {
        let ids = self
            .ids
            .keys()
            .map(|name| (name.clone(), kernel::ids::new_id().to_string()))
            .collect();
        Owner {
            marker: self.marker.clone(),
            ids,
        }
    }
}

impl Call {
    pub async fn by(&self, client: &Client) -> Answer {
        match (&self.body, self.form) {
            (Some(body), true) => {
                let fields: Vec<(&str, &str)> = body
                    .as_object()
                    .into_iter()
                    .flatten()
                    .filter_map(|(k, v)| Some((k.as_str(), v.as_str()?)))
                    .collect();
                client.post_form(&self.path, &fields).await
            }
            (body, _) => client.send(self.method.clone(), &self.path, body.as_ref()).await,
        }
    }

    /// The same with another path.
    pub fn at(&self, path: String) -> Call {
        Call { path, ..self.clone() }
    }

    /// The same with another body, if it has one.
    pub fn with_body(&self, body: Option<Value>) -> Call {
        Call {
            body: self.body.is_some().then_some(body).flatten(),
            ..self.clone()
        }
    }

    /// The same with another value in the body; its place is a JSON pointer.
    pub fn with(&self, pointer: &str, value: impl Into<Value>) -> Call {
        let (parent, field) = pointer.rsplit_once('/').expect("a JSON pointer");
        let mut call = self.clone();
        let parent = call.body.as_mut().and_then(|body| body.pointer_mut(parent));
        parent.expect("an object of the body")[field] = value.into();
        call
    }
}

//! Cursor-paged lists: `?limit=`, `?cursor=`, `?include_total=`, a filter and an order.
//!
//! Pages are cut by key, not by offset: what is inserted or deleted meanwhile neither repeats nor
//! hides another row, and page 10,000 costs what page 1 costs.

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderValue, header};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, Postgres, QueryBuilder};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::app::App;
use crate::caller::{Caller, UserCaller};
use crate::cursor;
use crate::error::{Error, QUERY_INVALID, Result, UNAUTHENTICATED};
use crate::input::{from_query, query_pairs};
use crate::keys::{Digest32, sha256};
use crate::output::json;
use crate::types::Timestamp;

/// Query parameters of every list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageParams {
    /// Items per page.
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<u16>,
    /// `next_cursor` of the page before, with the same filter and order.
    cursor: Option<String>,
    /// Also count all matching items.
    #[param(default = false)]
    include_total: Option<bool>,
}

const PAGE_PARAMS: [&str; 3] = ["limit", "cursor", "include_total"];

/// One page of a list.
#[derive(Serialize, ToSchema)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Cursor of the next page; null on the last one.
    #[schema(required = true)]
    pub next_cursor: Option<String>,
    /// Number of all matching items, with `include_total=true`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub total: Option<i64>,
    #[serde(skip)]
    #[schema(ignore)]
    next_link: Option<String>,
}

impl<T> Page<T> {
    /// The page with its items as answers show them.
    ///
    /// # Errors
    /// The first of `show`.
    pub fn try_map<U>(self, show: impl FnMut(T) -> Result<U>) -> Result<Page<U>> {
        Ok(Page {
            items: self.items.into_iter().map(show).collect::<Result<_>>()?,
            next_cursor: self.next_cursor,
            total: self.total,
            next_link: self.next_link,
        })
    }
}

impl<T: Serialize> IntoResponse for Page<T> {
    fn into_response(self) -> Response {
        let link = self
            .next_link
            .as_deref()
            .and_then(|l| HeaderValue::try_from(l).ok());
        let mut response = json(self).into_response();
        if let Some(link) = link {
            response.headers_mut().insert(header::LINK, link);
        }
        response
    }
}

/// The order of a list: a column of the table, ties broken by id.
#[derive(Clone, Copy, Debug)]
pub struct Sort {
    pub column: &'static str,
    pub descending: bool,
}

impl Sort {
    /// Smallest first.
    pub fn ascending(column: &'static str) -> Sort {
        Sort {
            column,
            descending: false,
        }
    }

    /// Largest first.
    pub fn descending(column: &'static str) -> Sort {
        Sort {
            column,
            descending: true,
        }
    }
}

/// A pattern for `ilike` that finds the text anywhere, its wildcards taken literally.
pub fn contains(text: &str) -> String {
    format!(
        "%{}%",
        text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")
    )
}

/// The value of a sort column in one row, as a cursor carries it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Key {
    #[serde(rename = "s")]
    Text(String),
    #[serde(rename = "i")]
    Int(i64),
    #[serde(rename = "t")]
    Time(Timestamp),
}

/// A row of a list.
pub trait Listed: for<'r> FromRow<'r, PgRow> + Send + Unpin {
    /// Table and columns, for `select COLUMNS from TABLE`.
    const TABLE: &'static str;
    const COLUMNS: &'static str;
    /// Id that breaks ties.
    fn id(&self) -> Uuid;
    /// Value of a column that a [`Sort`] names.
    fn key(&self, column: &'static str) -> Key;
}

/// The parsed request for a page: filter `F` (with `deny_unknown_fields`) and position.
pub struct List<F> {
    pub filter: F,
    params: PageParams,
    /// What a cursor is bound to: company or user, path, filter and order.
    context: Digest32,
    cursor_key: Digest32,
    /// Path and query without the cursor, for the `Link` header.
    base: String,
}

impl<F: DeserializeOwned + Send> FromRequestParts<App> for List<F> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self> {
        let subject = subject(parts).ok_or(&UNAUTHENTICATED)?;
        let (page, filter): (Vec<_>, Vec<_>) = query_pairs(parts)?
            .into_iter()
            .partition(|(name, _)| PAGE_PARAMS.contains(&name.as_str()));
        let params: PageParams = from_query(&page)?;
        if params.limit.is_some_and(|limit| !(1..=100).contains(&limit)) {
            return Err(Error::new(&QUERY_INVALID).parameter("limit", "range", "1 to 100"));
        }
        let encoded = serde_urlencoded::to_string(&filter).map_err(Error::internal)?;
        let path = parts.uri.path();
        Ok(List {
            filter: from_query(&filter)?,
            context: sha256(format!("{subject} {path}?{encoded}").as_bytes()),
            cursor_key: app.keys.derive("cursor"),
            base: page_url(path, &encoded, &params),
            params,
        })
    }
}

/// The company, or outside one the user, whose list it is.
fn subject(parts: &Parts) -> Option<Uuid> {
    let company = parts.extensions.get::<Caller>().map(|caller| caller.tenant_id);
    company.or_else(|| parts.extensions.get::<UserCaller>().map(|user| user.user_id))
}

fn page_url(path: &str, filter: &str, params: &PageParams) -> String {
    let mut url = format!("{path}?");
    if !filter.is_empty() {
        url = url + filter + "&";
    }
    if let Some(limit) = params.limit {
        url += &format!("limit={limit}&");
    }
    if let Some(include) = params.include_total {
        url += &format!("include_total={include}&");
    }
    url
}

impl<F> List<F> {
    /// Fetches the page. `filter` adds ` and …` conditions with bound values.
    ///
    /// # Errors
    /// `cursor-invalid`, or those of the database.
    pub async fn fetch<T: Listed>(
        self,
        conn: &mut PgConnection,
        sort: Sort,
        filter: impl Fn(&mut QueryBuilder<Postgres>, &F),
    ) -> Result<Page<T>> {
        let limit = i64::from(self.params.limit.unwrap_or(20));
        let mut query = QueryBuilder::new("select ");
        query
            .push(T::COLUMNS)
            .push(" from ")
            .push(T::TABLE)
            .push(" where true");
        filter(&mut query, &self.filter);
        let direction = if sort.descending { "desc" } else { "asc" };
        if let Some(cursor) = &self.params.cursor {
            let (key, id): (Key, Uuid) = cursor::open(&self.cursor_key, &self.context, cursor)?;
            let beyond = if sort.descending { " < (" } else { " > (" };
            query.push(" and (").push(sort.column).push(", id)").push(beyond);
            match key {
                Key::Text(value) => query.push_bind(value),
                Key::Int(value) => query.push_bind(value),
                Key::Time(value) => query.push_bind(value),
            };
            query.push(", ").push_bind(id).push(")");
        }
        query
            .push(" order by ")
            .push(sort.column)
            .push(" ")
            .push(direction);
        // Not bound: for a limit it does not know PostgreSQL expects a tenth of the table, finds such a plan too
        // dear to keep, and would plan every execution anew, which costs more than executing it.
        query
            .push(", id ")
            .push(direction)
            .push(" limit ")
            .push(limit + 1);
        let mut items: Vec<T> = query.build_query_as().fetch_all(&mut *conn).await?;

        let more = items.len() as i64 > limit;
        items.truncate(limit as usize);
        let next_cursor = match items.last() {
            Some(last) if more => Some(cursor::seal(
                &self.cursor_key,
                &self.context,
                &(last.key(sort.column), last.id()),
            )?),
            _ => None,
        };
        let total = if self.params.include_total == Some(true) {
            let mut count = QueryBuilder::new("select count(*) from ");
            count.push(T::TABLE).push(" where true");
            filter(&mut count, &self.filter);
            Some(count.build_query_scalar().fetch_one(conn).await?)
        } else {
            None
        };
        let next_link = next_cursor
            .as_ref()
            .map(|cursor| format!("<{}cursor={cursor}>; rel=\"next\"", self.base));
        Ok(Page {
            items,
            next_cursor,
            total,
            next_link,
        })
    }
}

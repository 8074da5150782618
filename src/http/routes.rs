//! The route table. A handler that does not say who may call it does not compile, and what it says is remembered: the
//! authorisation matrix and the OpenAPI document are read off this table, so there is no list to forget.

use axum::extract::{Request, State};
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use axum::{Extension, Router};

use super::describe::{Answers, Describe, Notes, Schemas};
use super::list::query_pairs;
use super::problem::{Answer, Faults, Problem};
use crate::access::Access;
use crate::app::AppState;

/// What a write costs of the bucket of the person who writes, where not one token: see [`Route::counts`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost(pub f64);

/// What an endpoint says about itself.
type Describes = fn(&mut Notes, &mut Schemas);

/// One line of the table.
pub struct Route {
    /// The method.
    pub method: Method,
    /// The path with its final slash, parameters as `{id}`.
    pub path: String,
    /// Who may call, as it stands in the authorisation matrix.
    pub access: &'static str,
    /// What it does, in a sentence.
    pub says: &'static str,
    /// The handler's name, such as `academic.units.list`.
    pub name: String,
    pub(super) notes: Describes,
    /// Statuses that none of the handler's parts knows of, each with its reason.
    pub(super) refusals: Vec<(u16, &'static str)>,
    /// What a call costs a person who changes something by it, and why, where it is not one token. Every route but those that
    /// only read counts, unless its line in the table says otherwise.
    pub counts: Option<(Cost, &'static str)>,
    handler: MethodRouter<AppState>,
}

impl Route {
    /// What a call costs of what a student or parent may write; nothing for reading.
    #[must_use]
    pub fn cost(&self) -> Cost {
        if self.method == Method::GET { Cost(0.0) } else { self.counts.map_or(Cost(1.0), |(cost, _)| cost) }
    }
}

/// The endpoints below one path.
#[derive(Default)]
pub struct Routes {
    base: &'static str,
    lines: Vec<Route>,
}

/// A handler whose first argument says who may call it, and whose every argument and answer describes itself.
///
/// `T` is the list of arguments; axum's own marker `M` stands in front of it.
#[diagnostic::on_unimplemented(
    message = "this handler does not say who may call it, or has a part that does not describe itself",
    note = "make the first argument `Public`, `Visitor` or an `Actor<…>`; every other argument `Describe`; the answer `Answers`"
)]
pub trait Endpoint<T>: Handler<T, AppState> {
    /// As it stands in the authorisation matrix.
    const ACCESS: &'static str;
    /// Adds all that the parts say.
    fn describe(notes: &mut Notes, schemas: &mut Schemas);
}

macro_rules! endpoint {
    ($($part:ident)*) => {
        impl<F, Fut, R, M, A, $($part),*> Endpoint<(M, A, $($part,)*)> for F
        where
            F: Handler<(M, A, $($part,)*), AppState> + Fn(A, $($part),*) -> Fut,
            Fut: Future<Output = Answer<R>>,
            R: Answers + IntoResponse,
            A: Access,
            $($part: Describe,)*
        {
            const ACCESS: &'static str = A::NAME;
            fn describe(notes: &mut Notes, schemas: &mut Schemas) {
                R::describe(notes, schemas);
                A::describe(notes);
                $($part::describe(notes, schemas);)*
            }
        }
    };
}
endpoint!();
endpoint!(B);
endpoint!(B C);
endpoint!(B C D);
endpoint!(B C D E);

impl Routes {
    /// A table of endpoints that all start with `base`, such as `/api/academic/units`.
    #[must_use]
    pub fn under(base: &'static str) -> Self {
        Self { base, lines: Vec::new() }
    }

    /// `GET`, and with it `HEAD`.
    #[must_use]
    pub fn get<H: Endpoint<T>, T: 'static>(self, path: &str, handler: H, says: &'static str) -> Self {
        self.add(Method::GET, MethodFilter::GET, path, handler, says)
    }

    /// `POST`.
    #[must_use]
    pub fn post<H: Endpoint<T>, T: 'static>(self, path: &str, handler: H, says: &'static str) -> Self {
        self.add(Method::POST, MethodFilter::POST, path, handler, says)
    }

    /// `PUT`.
    #[must_use]
    pub fn put<H: Endpoint<T>, T: 'static>(self, path: &str, handler: H, says: &'static str) -> Self {
        self.add(Method::PUT, MethodFilter::PUT, path, handler, says)
    }

    /// `PATCH`.
    #[must_use]
    pub fn patch<H: Endpoint<T>, T: 'static>(self, path: &str, handler: H, says: &'static str) -> Self {
        self.add(Method::PATCH, MethodFilter::PATCH, path, handler, says)
    }

    /// `DELETE`.
    #[must_use]
    pub fn delete<H: Endpoint<T>, T: 'static>(self, path: &str, handler: H, says: &'static str) -> Self {
        self.add(Method::DELETE, MethodFilter::DELETE, path, handler, says)
    }

    /// The endpoint added last also refuses with this status, which is of its own making and not of one of its parts.
    #[must_use]
    pub fn refuses(mut self, status: u16, says: &'static str) -> Self {
        if let Some(route) = self.lines.last_mut() {
            route.refusals.push((status, says));
        }
        self
    }

    /// The endpoint added last is something people do often in a row: it costs them a tenth of other changes, because of this.
    #[must_use]
    pub fn counts_a_tenth(self, why: &'static str) -> Self {
        self.counts(0.1, why)
    }

    /// The endpoint added last costs nothing of what a person may write, because of this.
    #[must_use]
    pub fn counts_nothing(self, why: &'static str) -> Self {
        self.counts(0.0, why)
    }

    fn counts(mut self, cost: f64, why: &'static str) -> Self {
        if let Some(route) = self.lines.last_mut() {
            route.counts = Some((Cost(cost), why));
            route.handler = std::mem::take(&mut route.handler).layer(Extension(Cost(cost)));
        }
        self
    }

    /// All of these and all of `other`.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.lines.extend(other.lines);
        self
    }

    /// The lines, in the order they were written.
    #[must_use]
    pub fn lines(&self) -> &[Route] {
        &self.lines
    }

    fn add<H: Endpoint<T>, T: 'static>(
        mut self,
        method: Method,
        filter: MethodFilter,
        path: &str,
        handler: H,
        says: &'static str,
    ) -> Self {
        let mut endpoint = on(filter, handler);
        if !method.is_safe() {
            endpoint = endpoint.route_layer(from_fn_with_state(H::describe as Describes, refuse_unread_parameters));
        }
        self.lines.push(Route {
            method,
            name: operation_name::<H>(self.base, path),
            path: format!("{}{path}", self.base),
            access: H::ACCESS,
            says,
            notes: H::describe,
            refusals: Vec::new(),
            counts: None,
            handler: endpoint,
        });
        self
    }

    /// The table as axum's router: each path with and without its final slash, the same handler behind both.
    ///
    /// axum redirects or answers 404 for the other form when routers are nested, so full paths are registered.
    pub fn into_router(self) -> Router<AppState> {
        self.lines.into_iter().fold(Router::new(), |router, route| {
            let bare = route.path.trim_end_matches('/').to_owned();
            let router =
                if bare.is_empty() || bare == route.path { router } else { router.route(&bare, route.handler.clone()) };
            router.route(&route.path, route.handler)
        })
    }
}

/// A write with a parameter that it does not read is 400 and does nothing: `?dry_run=true` must never be a real run. What an
/// endpoint reads is what its parts say in the OpenAPI document.
async fn refuse_unread_parameters(State(describe): State<Describes>, request: Request, next: Next) -> Response {
    if request.uri().query().is_none_or(str::is_empty) {
        return next.run(request).await;
    }
    let (head, body) = request.into_parts();
    let read = query_pairs(&head).and_then(|pairs| {
        let (mut notes, mut faults) = (Notes::default(), Faults::default());
        describe(&mut notes, &mut Schemas::new());
        for (name, _) in pairs.into_iter().filter(|(name, _)| !notes.reads(name)) {
            let says = if name == "dry_run" {
                "This call cannot be tried out. Nothing was done; leave `dry_run` away to do it.".to_owned()
            } else {
                format!("This call has no parameter `{name}`. Nothing was done.")
            };
            faults.add(name, says);
        }
        faults.check()
    });
    match read {
        Ok(()) => next.run(Request::from_parts(head, body)).await,
        Err(problem) => problem.into_response(),
    }
}

/// `/api/academic/units` and a handler `list` make `academic.units.list`; a shared verb such as `create::<Unit>`
/// likewise. A handler that has the name of the path's last part does not repeat it.
fn operation_name<H>(base: &str, path: &str) -> String {
    let full = std::any::type_name::<H>();
    let plain = full.split('<').next().unwrap_or(full);
    let verb = plain.rsplit("::").next().unwrap_or(plain);
    let base = base.strip_prefix("/api/").unwrap_or(base);
    let words = base.split('/').chain(path.split('/')).filter(|word| !word.is_empty() && !word.starts_with('{'));
    let mut words: Vec<String> = words.map(|word| word.replace('-', "_")).collect();
    if words.last().is_none_or(|last| last != verb) {
        words.push(verb.to_owned());
    }
    words.join(".")
}

/// 404 for a path that no route has.
pub async fn nothing_here() -> Problem {
    Problem::absent()
}

/// 405; axum adds `Allow`.
pub async fn wrong_method() -> Problem {
    Problem::new(
        axum::http::StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "This method is not allowed here; see the Allow header.",
    )
}

//! The router: paths, methods, parameters, nesting.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use http::{Method, header};
use tidegate_http::{Handler, Request, Response, ResponseBody, Router, sync_handler};

/// Asks a router, and returns the status and the text of its response.
fn ask(router: &Router, method: &str, target: &str) -> (u16, String) {
    let response = answer(router, method, target);
    let status = response.status().as_u16();
    match response.body() {
        ResponseBody::Bytes(bytes) => (status, String::from_utf8(bytes.to_vec()).expect("text")),
        _ => (status, String::new()),
    }
}

fn answer(router: &Router, method: &str, target: &str) -> Response {
    let head = format!("{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n");
    let request = Request::parse(head.as_bytes(), "").expect("a valid request");
    let reply = pin!(router.handle(request).response());
    match reply.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(response) => response,
        Poll::Pending => panic!("a handler of these tests waits"),
    }
}

fn allow(response: &Response) -> &str {
    let value = response.header(&header::ALLOW).expect("Allow");
    value.to_str().expect("text")
}

/// A handler that answers with its name and its parameters.
fn named(name: &'static str) -> impl Handler {
    sync_handler(move |request: Request| {
        let params: Vec<_> = request.params().map(|(name, value)| format!("{name}={value}")).collect();
        format!("{name} {}", params.join(" "))
    })
}

#[test]
fn paths_and_parameters() {
    let router = Router::new()
        .get("/", named("root"))
        .get("/rooms/:room", named("room"))
        .get("/rooms/lobby", named("lobby"))
        .get("/rooms/:room/users/:user", named("user"))
        .get("/files/*rest", named("files"));
    let get = |target| ask(&router, "GET", target);
    assert_eq!(get("/"), (200, "root ".into()));
    assert_eq!(get("/?a=b"), (200, "root ".into()));
    assert_eq!(get("http://host"), (200, "root ".into()));
    assert_eq!(get("/rooms/a"), (200, "room room=a".into()));
    assert_eq!(get("/rooms/lobby"), (200, "lobby ".into()));
    assert_eq!(get("/rooms/a/users/b"), (200, "user room=a user=b".into()));
    assert_eq!(get("/files/a/b.c"), (200, "files rest=a/b.c".into()));
    for unknown in ["/rooms", "/rooms/", "/rooms/a/", "/files", "/files/", "/Rooms/a", "//"] {
        assert_eq!(get(unknown).0, 404, "{unknown}");
    }
}

#[test]
fn parameters_are_decoded_after_matching() {
    let router = Router::new().get("/a/:name", named("a")).get("/b/*rest", named("b"));
    let get = |target| ask(&router, "GET", target);
    assert_eq!(get("/a/x%20y%C3%A9"), (200, "a name=x y\u{e9}".into()));
    assert_eq!(get("/a/x%2Fy"), (200, "a name=x/y".into()));
    assert_eq!(get("/b/%2e%2E/x"), (200, "b rest=../x".into()));
    assert_eq!(get("/%61/x").0, 404);
    assert_eq!(get("/a/%zz").0, 400);
    assert_eq!(get("/a/%ff").0, 400);
    assert_eq!(get("/a/%").0, 400);
}

#[test]
fn methods() {
    let router = Router::new()
        .get("/both", named("get"))
        .post("/both", named("post"))
        .put("/put", named("put"))
        .any("/any", named("any"))
        .get("/any", named("get"))
        .route(Method::OPTIONS, "/own", named("options"))
        .route(Method::HEAD, "/own", named("head"))
        .get("/own", named("get"));
    assert_eq!(ask(&router, "POST", "/both").1, "post ");
    assert_eq!(ask(&router, "HEAD", "/both").1, "get ");
    assert_eq!(ask(&router, "HEAD", "/own").1, "head ");
    assert_eq!(ask(&router, "OPTIONS", "/own").1, "options ");
    assert_eq!(ask(&router, "GET", "/any").1, "get ");
    assert_eq!(ask(&router, "PURGE", "/any").1, "any ");
    let refused = answer(&router, "DELETE", "/both");
    assert_eq!((refused.status().as_u16(), allow(&refused)), (405, "GET, HEAD, OPTIONS, POST"));
    assert_eq!(allow(&answer(&router, "GET", "/put")), "OPTIONS, PUT");
    assert_eq!(ask(&router, "HEAD", "/put").0, 405);
    assert_eq!(ask(&router, "PURGE", "/both").0, 501);
    let options = answer(&router, "OPTIONS", "/both");
    assert_eq!((options.status().as_u16(), allow(&options)), (204, "GET, HEAD, OPTIONS, POST"));
    let all = answer(&router, "OPTIONS", "*");
    assert_eq!((all.status().as_u16(), allow(&all)), (204, "GET, HEAD, OPTIONS, POST, PUT"));
}

#[test]
fn nesting_and_fallbacks() {
    let deepest = Router::new().get("/c", named("c")).fallback(named("deepest"));
    let inner = Router::new().get("/b", named("b")).nest("/deep", deepest).fallback(named("inner"));
    let router = Router::new()
        .get("/b", named("outer b"))
        .nest("/api", inner)
        .nest("/of/:user", Router::new().get("/b", named("of")))
        .fallback(named("outer"));
    let get = |target| ask(&router, "GET", target).1;
    assert_eq!(get("/b"), "outer b ");
    assert_eq!(get("/api/b"), "b ");
    assert_eq!(get("/api/deep/c"), "c ");
    assert_eq!(get("/api/deep/x"), "deepest ");
    assert_eq!(get("/api/x"), "inner ");
    assert_eq!(get("/api"), "inner ");
    assert_eq!(get("/apix"), "outer ");
    assert_eq!(get("/of/me/b"), "of user=me");
    assert_eq!(ask(&Router::new(), "GET", "/").0, 404);
}

#[test]
fn everything_below_a_prefix_is_the_nested_routers() {
    let api = Router::new().get("/users/:id", named("user")).post("/users", named("new")).fallback(named("api"));
    let silent = Router::new().get("/a", named("silent"));
    let router = Router::new()
        .get("/:page", named("page"))
        .get("/:page/:part", named("part"))
        .get("/:page/users/:id/x", named("deep"))
        .nest("/api", api)
        .nest("/silent", silent)
        .get("/api/explicit/:id", named("explicit"))
        .fallback(named("outer"));
    let get = |target| ask(&router, "GET", target).1;
    assert_eq!(get("/other"), "page page=other");
    assert_eq!(get("/other/x"), "part page=other part=x");
    assert_eq!(get("/apis/x"), "part page=apis part=x");
    assert_eq!(get("/api/users/7"), "user id=7");
    for path in ["/api", "/api/", "/api/x", "/api/x/y", "/api/users/7/x", "/api/users/"] {
        assert_eq!(get(path), "api ", "{path}");
    }
    assert_eq!(ask(&router, "GET", "/api/users").0, 405);
    // A route that spells the prefix out is below it.
    assert_eq!(get("/api/explicit/1"), "explicit id=1");
    // Without a fallback of the nested router, that of the outer one answers.
    assert_eq!(get("/silent/a"), "silent ");
    assert_eq!((get("/silent"), get("/silent/x")), ("outer ".into(), "outer ".into()));
}

#[test]
fn prefixes_with_parameters() {
    let nested = |name| Router::new().get("/a", named("a")).fallback(named(name));
    let router = Router::new()
        .nest("/:tenant", nested("tenant"))
        .nest("/api", nested("api"))
        .nest("/:tenant/deep", nested("deep"))
        .get("/health/*rest", named("health"))
        .fallback(named("outer"));
    let get = |target| ask(&router, "GET", target).1;
    // The literal prefix comes first, whichever was registered first.
    assert_eq!((get("/api/x"), get("/api/a")), ("api ".into(), "a ".into()));
    assert_eq!(get("/me/a"), "a tenant=me");
    assert_eq!(get("/me/x%20y"), "tenant tenant=me");
    assert_eq!(get("/m%20e/x"), "tenant tenant=m e");
    assert_eq!(get("/me/deep/x"), "deep tenant=me");
    assert_eq!(get("/health/x"), "health rest=x");
    // A parameter does not match an empty segment.
    assert_eq!((get("/"), get("//a")), ("outer ".into(), "outer ".into()));
    assert_eq!(ask(&router, "GET", "/%ff/x").0, 400);
}

#[test]
fn the_root_of_a_nested_router_is_the_prefix_with_and_without_a_slash() {
    let nested = || Router::new().get("/", named("root")).fallback(named("missing"));
    let both = Router::new().nest("/api", nested()).nest("/of/:user", Router::new().nest("/in", nested()));
    assert_eq!(ask(&both, "GET", "/api").1, "root ");
    assert_eq!(ask(&both, "GET", "/api/").1, "root ");
    assert_eq!(ask(&both, "POST", "/api").0, 405);
    assert_eq!(ask(&both, "GET", "/of/me/in").1, "root user=me");
    assert_eq!(ask(&both, "GET", "/of/me/in/").1, "root user=me");
    assert_eq!(ask(&both, "GET", "/of/me").0, 404);
    // A route of the outer router for the prefix takes it over, before or after the call of `nest`.
    for own in [
        Router::new().get("/api", named("own")).nest("/api", nested()),
        Router::new().nest("/api", nested()).get("/api", named("own")),
    ] {
        assert_eq!((ask(&own, "GET", "/api").1, ask(&own, "GET", "/api/").1), ("own ".into(), "root ".into()));
    }
    let without = Router::new().nest("/api", Router::new().get("/a", named("a")).fallback(named("missing")));
    assert_eq!(
        (ask(&without, "GET", "/api").1, ask(&without, "GET", "/api/").1),
        ("missing ".into(), "missing ".into())
    );
}

#[test]
fn braces_are_the_other_syntax_of_parameters() {
    let router = Router::new()
        .get("/rooms/{room}", named("room"))
        .post("/rooms/:room", named("post"))
        .get("/files/{*rest}", named("files"))
        .nest("/of/{user}", Router::new().get("/b", named("of")));
    assert_eq!(ask(&router, "GET", "/rooms/a").1, "room room=a");
    assert_eq!(ask(&router, "POST", "/rooms/a").1, "post room=a");
    assert_eq!(ask(&router, "GET", "/files/a/b").1, "files rest=a/b");
    assert_eq!(ask(&router, "GET", "/of/me/b").1, "of user=me");
    let partly = panic_of(|| Router::new().get("/a{b}", named("1")));
    assert_eq!(
        partly,
        "invalid route \"/a{b}\": braces must enclose a whole segment, as in `/{user_id}`; a literal brace is written \
         %7B or %7D"
    );
}

/// The message of the panic that registering a route must raise.
fn panic_of(register: impl Fn() -> Router + std::panic::UnwindSafe) -> String {
    let panic = std::panic::catch_unwind(register).expect_err("a panic");
    panic.downcast_ref::<String>().cloned().unwrap_or_else(|| panic.downcast_ref::<&str>().expect("a text").to_string())
}

#[test]
fn conflicting_routes_panic_with_their_names() {
    let twice = panic_of(|| Router::new().get("/a", named("1")).get("/a", named("2")));
    assert_eq!(twice, "conflicting route GET \"/a\": it has a handler already; remove one");
    let renamed = panic_of(|| Router::new().get("/:a/x", named("1")).get("/:b/x", named("2")));
    assert_eq!(
        renamed,
        "conflicting route \"/:b/x\": matches the same paths as \"/:a/x\"; give their parameters the same names"
    );
    let any = panic_of(|| Router::new().any("/a", named("1")).any("/a", named("2")));
    assert_eq!(any, "conflicting route \"/a\": `any` was called for it before; remove one");
    let nested = panic_of(|| Router::new().get("/a/b", named("1")).nest("/a", Router::new().get("/b", named("2"))));
    assert_eq!(nested, "conflicting route GET \"/a/b\": it has a handler already; remove one");
    let wildcard = panic_of(|| Router::new().get("/:a", named("1")).get("/*rest", named("2")));
    assert_eq!(
        wildcard,
        "conflicting route \"/*rest\": a parameter and a wildcard are in the same place in it and in \"/:a\""
    );
    let syntaxes = panic_of(|| Router::new().get("/{a}", named("1")).get("/:a", named("2")));
    assert_eq!(syntaxes, "conflicting route GET \"/:a\": it has a handler already; remove one");
    let nests = panic_of(|| {
        let nested = |name| Router::new().fallback(named(name));
        Router::new().nest("/:a", nested("1")).nest("/{b}", nested("2"))
    });
    assert_eq!(nests, "conflicting fallback below \"/{b}\": two routers nested there have one; remove one");
    let fallback = panic_of(|| Router::new().fallback(named("1")).fallback(named("2")));
    assert_eq!(fallback, "conflicting fallback: the router has one already; remove one");
}

#[test]
fn invalid_routes_panic_with_the_fix() {
    let route = panic_of(|| Router::new().get("a", named("1")));
    assert_eq!(route, "invalid route \"a\": must begin with a slash");
    let prefix = panic_of(|| Router::new().nest("/a/", Router::new()));
    assert_eq!(
        prefix,
        "invalid prefix \"/a/\": must begin with a slash, not end with one, and have no wildcard, as in \"/api\""
    );
    let partly = panic_of(|| Router::new().nest("/a{b", Router::new()));
    assert!(partly.starts_with("invalid route \"/a{b\": braces must enclose a whole segment"), "{partly}");
}

#[test]
fn async_handlers_need_not_be_send() {
    let router = Router::new().get("/a", |request: Request| async move {
        let path = std::rc::Rc::new(request.path().to_owned());
        std::future::ready(()).await;
        Response::text(path.to_string())
    });
    assert_eq!(ask(&router, "GET", "/a"), (200, "/a".into()));
}

/// A generator of small numbers, the same in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) as usize % bound
    }

    fn path(&mut self, segments: &[&str], depth_max: usize) -> String {
        let depth = 1 + self.below(depth_max);
        (0..depth).map(|_| format!("/{}", segments[self.below(segments.len())])).collect()
    }
}

/// The rank of each segment, the most specific first: literal, parameter, wildcard, end.
fn ranks(pattern: &str) -> Vec<u8> {
    let rank = |segment: &str| u8::from(segment.starts_with(':')) + 2 * u8::from(segment.starts_with('*'));
    pattern.split('/').map(rank).chain([3]).collect()
}

fn matches(pattern: &str, path: &str, is_prefix: bool) -> bool {
    let mut rest = path.split('/');
    for expected in pattern.split('/') {
        match rest.next() {
            Some(segment) if expected.starts_with('*') => return !segment.is_empty() || rest.next().is_some(),
            Some(segment) if expected == segment || (expected.starts_with(':') && !segment.is_empty()) => {}
            _ => return false,
        }
    }
    is_prefix || rest.next().is_none()
}

/// Compares the router with the plain rules: the most specific route, unless a more specific prefix contains the path.
#[test]
fn nested_routers_follow_the_plain_rules() {
    let mut numbers = Numbers(7);
    let mut compared = 0;
    for _ in 0..if cfg!(miri) { 20 } else { 3000 } {
        let prefixes: Vec<String> = (0..2).map(|_| numbers.path(&["a", "b", ":p"], 2)).collect();
        let mut inner = || numbers.path(&["a", "b", ":q", ":r"], 2);
        let nested = [inner(), inner()];
        let outer: Vec<String> = (0..4).map(|_| numbers.path(&["a", "b", "ab", ":o", ":n", "*rest"], 3)).collect();
        let routes: Vec<String> =
            nested.iter().zip(&prefixes).map(|(path, prefix)| format!("{prefix}{path}")).collect();
        let routes: Vec<String> = routes.into_iter().chain(outer.iter().cloned()).collect();
        let named = |name: String| sync_handler(move |_| name.clone());
        let build = || {
            let mut router = Router::new();
            for path in &outer {
                router = router.get(path, named(path.clone()));
            }
            for (path, prefix) in nested.iter().zip(&prefixes) {
                let inner = Router::new().get(path, named(format!("{prefix}{path}")));
                router = router.nest(prefix, inner.fallback(named(format!("below {prefix}"))));
            }
            router
        };
        // Routes that conflict are another test's.
        let Ok(router) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(build)) else { continue };
        for _ in 0..20 {
            let path = numbers.path(&["a", "b", "ab", "c", ""], 4);
            let route = routes.iter().filter(|route| matches(route, &path, false)).min_by_key(|route| ranks(route));
            let prefix =
                prefixes.iter().filter(|prefix| matches(prefix, &path, true)).min_by_key(|prefix| ranks(prefix));
            let expected = match (route, prefix) {
                (Some(route), Some(prefix)) if ranks(route) > ranks(prefix) => format!("below {prefix}"),
                (Some(route), _) => route.clone(),
                (None, Some(prefix)) => format!("below {prefix}"),
                (None, None) => "not found\n".to_owned(),
            };
            assert_eq!(ask(&router, "GET", &path).1, expected, "{path} of {routes:?} below {prefixes:?}");
            compared += 1;
        }
    }
    assert!(cfg!(miri) || compared > 5_000, "{compared}");
}

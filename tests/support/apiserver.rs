//! An API server for faults that a real one cannot be made to show: it keeps objects under their
//! paths, listens on a loopback port, and does what it is told to a request first.

mod speech;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, Version};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub(crate) use self::speech::{Mood, Tls};

/// What happens to a request instead of an answer.
#[derive(Clone)]
pub(crate) enum Fault {
    /// A status with a body and headers.
    Status(u16, Value, Vec<(&'static str, String)>),
    /// A body of any kind with status 200.
    Body(&'static str),
    /// Never an answer.
    Hang,
    /// The connection (of HTTP/2: the stream) is closed without an answer, after the request was read.
    Close,
    /// The same in the middle of the body.
    Cut,
    /// The stream is closed as one that was not looked at.
    Refuse,
}

/// A fault for requests whose method and path (with query) match.
struct Rule {
    method: Method,
    path: String,
    times: usize,
    fault: Fault,
}

/// A request that was received.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) authorization: Option<String>,
    pub(crate) accept: Option<String>,
    pub(crate) content_type: Option<String>,
    pub(crate) upgrade: Option<String>,
    pub(crate) version: Version,
    pub(crate) body: Value,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Value>,
    rules: Vec<Rule>,
    received: Vec<Received>,
    tokens: Option<Vec<String>>,
    version: u64,
}

/// A running server; it stops when dropped.
pub(crate) struct ApiServer {
    address: SocketAddr,
    tls: Option<Tls>,
    state: Arc<Mutex<State>>,
    connections: Arc<AtomicUsize>,
    mood: watch::Sender<Mood>,
    task: JoinHandle<()>,
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl ApiServer {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        Self::serve(listener, None)
    }

    /// Starts on an address that a former server had.
    pub(crate) async fn start_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        Self::serve(listener, None)
    }

    pub(crate) async fn start_secure(tls: Tls) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        Self::serve(listener, Some(tls))
    }

    pub(crate) async fn start_secure_at(address: SocketAddr, tls: Tls) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        Self::serve(listener, Some(tls))
    }

    fn serve(listener: TcpListener, tls: Option<Tls>) -> Self {
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let connections = Arc::<AtomicUsize>::default();
        let mood = watch::Sender::new(Mood::Serve);
        let (spoken, accepted, moods) = (tls.clone(), Arc::clone(&connections), mood.clone());
        let task = tokio::spawn(async move {
            let mut open = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                accepted.fetch_add(1, Ordering::Relaxed);
                let state = Arc::clone(&shared);
                let service = service_fn(move |request| answer(Arc::clone(&state), request));
                open.spawn(speech::serve(stream, spoken.clone(), moods.subscribe(), service));
            }
        });
        Self { address, tls, state, connections, mood, task }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    pub(crate) fn tls(&self) -> Option<Tls> {
        self.tls.clone()
    }

    /// The certificate that clients have to trust, PEM.
    pub(crate) fn certificate(&self) -> Option<&str> {
        self.tls.as_ref().map(|tls| tls.certificate.as_str())
    }

    /// How many connections were accepted.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Changes what the connections of HTTP/2 do that are open now.
    pub(crate) fn mood(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    /// Does `fault` to the next `times` requests with this method and a path that starts so.
    pub(crate) fn inject(&self, method: Method, path: &str, times: usize, fault: Fault) {
        let rule = Rule { method, path: path.to_owned(), times, fault };
        self.state.lock().unwrap().rules.push(rule);
    }

    /// Accepts only these bearer tokens from now on.
    pub(crate) fn accept_tokens(&self, tokens: &[&str]) {
        let tokens = tokens.iter().map(|&token| token.to_owned()).collect();
        self.state.lock().unwrap().tokens = Some(tokens);
    }

    pub(crate) fn put(&self, path: &str, object: Value) {
        self.state.lock().unwrap().objects.insert(path.to_owned(), object);
    }

    pub(crate) fn object(&self, path: &str) -> Option<Value> {
        self.state.lock().unwrap().objects.get(path).cloned()
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.state.lock().unwrap().received.clone()
    }

    /// How many requests with this method and a path that starts so were received.
    pub(crate) fn count(&self, method: &Method, path: &str) -> usize {
        let state = self.state.lock().unwrap();
        let matching = |r: &&Received| r.method == *method && r.path.starts_with(path);
        state.received.iter().filter(matching).count()
    }
}

/// A kubeconfig with one context, cluster and user called `name`; `user` is the user's YAML (flow
/// style, `{}` for none).
pub(crate) fn kubeconfig(name: &str, server: &str, user: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\n\
         clusters: [{{name: {name}, cluster: {{server: \"{server}\"}}}}]\n\
         users: [{{name: {name}, user: {user}}}]\n\
         contexts: [{{name: {name}, context: {{cluster: {name}, user: {name}}}}}]\n\
         current-context: {name}\n"
    )
}

pub(crate) fn write(directory: &Path, name: &str, text: &str) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

pub(crate) fn status(code: u16, reason: &str, message: &str) -> Fault {
    Fault::Status(
        code,
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
            "reason": reason, "message": message}),
        Vec::new(),
    )
}

type Answer = Response<BoxBody<Bytes, std::io::Error>>;

fn full(code: u16, text: String) -> Answer {
    let body = Full::new(Bytes::from(text)).map_err(|never: Infallible| match never {});
    Response::builder()
        .status(code)
        .header("content-type", "application/json")
        .body(BoxBody::new(body))
        .unwrap()
}

async fn answer(
    state: Arc<Mutex<State>>,
    request: Request<Incoming>,
) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let header = |name: &str| {
        head.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
    };
    let received = Received {
        method: head.method.clone(),
        path: head.uri.path_and_query().map_or_else(String::new, ToString::to_string),
        authorization: header("authorization"),
        accept: header("accept"),
        content_type: header("content-type"),
        upgrade: header("upgrade"),
        version: head.version,
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
    };
    let fault = {
        let mut state = state.lock().unwrap();
        state.received.push(received.clone());
        let refused = state.tokens.as_ref().is_some_and(|tokens| {
            let given = received.authorization.as_deref().and_then(|a| a.strip_prefix("Bearer "));
            !tokens.iter().any(|token| Some(token.as_str()) == given)
        });
        let rule = state.rules.iter_mut().find(|rule| {
            rule.times > 0
                && rule.method == received.method
                && received.path.starts_with(&rule.path)
        });
        match rule {
            _ if refused => Some(status(401, "Unauthorized", "Unauthorized")),
            Some(rule) => {
                rule.times -= 1;
                Some(rule.fault.clone())
            }
            None => None,
        }
    };
    match fault {
        None => Ok(serve(&mut state.lock().unwrap(), &received)),
        Some(Fault::Status(code, body, headers)) => {
            let mut answer = full(code, body.to_string());
            for (name, value) in headers {
                answer.headers_mut().insert(name, value.parse().unwrap());
            }
            Ok(answer)
        }
        Some(Fault::Body(text)) => Ok(full(200, text.to_owned())),
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Close) => Err("told to".into()),
        Some(Fault::Refuse) => Err(h2::Error::from(h2::Reason::REFUSED_STREAM).into()),
        Some(Fault::Cut) => {
            let half = Frame::data(Bytes::from_static(br#"{"kind": "#));
            let parts = futures::stream::iter([Ok(half), Err(std::io::Error::other("told to"))]);
            let body = BoxBody::new(StreamBody::new(parts));
            Ok(Response::builder().header("content-length", "1000").body(body).unwrap())
        }
    }
}

fn not_found(path: &str) -> Answer {
    let name = path.rsplit('/').next().unwrap_or_default();
    let body = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404,
        "reason": "NotFound", "message": format!("\"{name}\" not found"), "details": {"name": name}});
    full(404, body.to_string())
}

/// The part of an API server that the faults are tested around: objects by path, without
/// validation, ownership of fields or admission.
fn serve(state: &mut State, request: &Received) -> Answer {
    let path = request.path.split('?').next().unwrap_or_default().to_owned();
    let dry_run = request.path.contains("dryRun=All");
    let ok = |object: &Value| full(200, object.to_string());
    match (request.method.as_str(), path.as_str()) {
        ("GET", "/version") => {
            ok(&json!({"major": "1", "minor": "33+", "gitVersion": "v1.33.2-fake",
                "gitCommit": "", "gitTreeState": "", "buildDate": "", "goVersion": "",
                "compiler": "", "platform": ""}))
        }
        ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews") => {
            let mut review = request.body.clone();
            review["status"] = json!({"allowed": true});
            full(201, review.to_string())
        }
        ("GET", _) => {
            if let Some(object) = state.objects.get(&path) {
                return ok(object);
            }
            let below = format!("{path}/");
            let items: Vec<&Value> = state
                .objects
                .iter()
                .filter(|(key, _)| key.strip_prefix(&below).is_some_and(|n| !n.contains('/')))
                .map(|(_, object)| object)
                .collect();
            if items.is_empty() {
                return not_found(&path);
            }
            ok(&json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": items}))
        }
        ("PATCH" | "PUT", _) => {
            state.version += 1;
            let mut object = request.body.clone();
            object["metadata"]["resourceVersion"] = json!(state.version.to_string());
            if !dry_run {
                state.objects.insert(path, object.clone());
            }
            ok(&object)
        }
        ("POST", _) => {
            let name = request.body.pointer("/metadata/name").and_then(Value::as_str);
            let key = format!("{path}/{}", name.unwrap_or_default());
            if !dry_run {
                state.objects.insert(key, request.body.clone());
            }
            full(201, request.body.to_string())
        }
        ("DELETE", _) => match state.objects.remove(&path) {
            Some(_) => ok(&json!({"kind": "Status", "status": "Success"})),
            None => not_found(&path),
        },
        _ => full(405, "{}".to_owned()),
    }
}

/// A listener that accepts connections and resets them.
pub(crate) async fn resetting() -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_zero_linger().unwrap();
        }
    });
    (address, task)
}

/// An address at which nothing listens.
pub(crate) async fn nobody() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    listener.local_addr().unwrap()
}

/// An HTTP proxy that opens tunnels for one user and password, and where it has opened them to.
pub(crate) async fn connect_proxy(user: &str) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    use base64::Engine as _;
    let wanted = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(user));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let tunnels = Arc::new(Mutex::new(Vec::new()));
    let opened = Arc::clone(&tunnels);
    // Ends with the runtime of the test.
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let (wanted, opened) = (wanted.clone(), Arc::clone(&opened));
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(client.read_u8().await?);
                }
                let head = String::from_utf8_lossy(&head).into_owned();
                let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
                if !head.contains(&wanted) {
                    let refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n";
                    return client.write_all(refusal).await;
                }
                let mut server = tokio::net::TcpStream::connect(&target).await?;
                opened.lock().unwrap().push(target);
                client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
                tokio::io::copy_bidirectional(&mut client, &mut server).await.map(|_| ())
            });
        }
    });
    (address, tunnels)
}

/// A limit for everything that a test waits for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

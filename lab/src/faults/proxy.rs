//! The proxy itself.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use futures_util::stream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, UPGRADE};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex as AsyncMutex, Notify, oneshot, watch};
use tokio::task::JoinSet;

use super::line::{HTTP2, Lines, Upstream};
use super::rule::{Fault, Rule, Seen};
use crate::cluster::Cluster;
use crate::error::{Doing as _, Result};
use crate::lab::Lab;

/// What went through a proxy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests, by method.
    pub requests: BTreeMap<String, usize>,
    /// Requests that change something, as [`Seen::is_write`] has it.
    pub writes: usize,
    /// Faults, by name.
    pub injected: BTreeMap<&'static str, usize>,
}

impl Tally {
    /// All requests.
    pub fn all(&self) -> usize {
        self.requests.values().sum()
    }
}

type Observer = Box<dyn FnMut(&Seen) -> Option<Fault> + Send>;

#[derive(Default)]
struct State {
    rules: Vec<Rule>,
    observer: Option<Observer>,
    tally: Tally,
}

struct Shared {
    state: Mutex<State>,
    lines: Lines,
    /// Whether connections are accepted.
    open: watch::Sender<bool>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running proxy.
pub struct FaultProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl FaultProxy {
    /// The address of the proxy, in place of that of the API server.
    pub fn server(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Adds a rule; the first one that is for a request decides.
    pub fn inject(&self, rule: Rule) {
        self.shared.state().rules.push(rule);
    }

    /// Forgets all rules and the observer, and accepts connections again.
    pub fn clear(&self) {
        let mut state = self.shared.state();
        state.rules.clear();
        state.observer = None;
        drop(state);
        self.shared.open.send_replace(true);
    }

    /// Calls this for every request, before the API server gets it; what it returns is done to the
    /// request.
    pub fn observe(&self, observer: impl FnMut(&Seen) -> Option<Fault> + Send + 'static) {
        self.shared.state().observer = Some(Box::new(observer));
    }

    /// What went through so far.
    pub fn tally(&self) -> Tally {
        self.shared.state().tally.clone()
    }

    /// Ends all connections and accepts none any more, until [`FaultProxy::clear`].
    pub fn refuse(&self) {
        self.shared.open.send_replace(false);
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It has nothing to say that matters now.
            let _ = thread.join();
        }
    }
}

impl Lab {
    /// Starts a proxy in front of the API server of a cluster.
    pub fn fault_proxy(&self, cluster: &Cluster) -> Result<FaultProxy> {
        let member = cluster.member();
        let pki = self.run().cluster(member.number).join("pki");
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            lines: Lines::of(member, &pki)?,
            open: watch::Sender::new(true),
        });
        let network = self.network()?;
        let (stop, stopped) = oneshot::channel();
        let (sender, started) = mpsc::channel();
        let (serving, address) = (Arc::clone(&shared), member.api());
        let thread = thread::spawn(move || {
            let bound = enter(&network).and_then(|runtime| {
                let listener = runtime.block_on(TcpListener::bind((address, 0)))?;
                let address = listener.local_addr()?;
                Ok((runtime, listener, address))
            });
            match bound {
                Ok((runtime, listener, address)) => {
                    let _ = sender.send(Ok(address));
                    runtime.block_on(async {
                        tokio::select! {
                            _ = stopped => {}
                            () = serve(serving, listener, address) => {}
                        }
                    });
                }
                Err(error) => {
                    let _ = sender.send(Err(error));
                }
            }
        });
        let what = || format!("start a proxy for {}", member.context);
        let address = started.recv().map_err(io::Error::other).doing(what)?.doing(what)?;
        Ok(FaultProxy { address, shared, stop: Some(stop), thread: Some(thread) })
    }

    /// The network namespace of the lab.
    fn network(&self) -> Result<OwnedFd> {
        let path = self.site()?.space.network();
        File::open(&path).map(OwnedFd::from).at("open", &path)
    }
}

/// Moves this thread into a network, where a runtime of this thread alone has its sockets.
fn enter(network: &OwnedFd) -> io::Result<tokio::runtime::Runtime> {
    move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// Accepts connections while the proxy is open.
async fn serve(shared: Arc<Shared>, listener: TcpListener, address: SocketAddr) {
    let mut open = shared.open.subscribe();
    let mut listener = Some(listener);
    loop {
        let mut connections = JoinSet::new();
        if let Some(listener) = listener.take() {
            loop {
                tokio::select! {
                    _ = open.wait_for(|open| !open) => break,
                    accepted = listener.accept() => {
                        if let Ok((stream, _)) = accepted {
                            connections.spawn(converse(Arc::clone(&shared), stream));
                        }
                    }
                    Some(_) = connections.join_next() => {}
                }
            }
        }
        drop(connections);
        // The sender lives as long as `shared`.
        let _ = open.wait_for(|open| *open).await;
        while listener.is_none() {
            match TcpListener::bind(address).await {
                Ok(again) => listener = Some(again),
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }
}

/// Serves one client.
async fn converse(shared: Arc<Shared>, stream: TcpStream) {
    // A duplicate: how the connection ends is said of the socket, which the server owns then.
    let Ok(socket) = stream.as_fd().try_clone_to_owned() else { return };
    let _ = stream.set_nodelay(true);
    let Ok(stream) = shared.lines.acceptor.accept(stream).await else { return };
    let many = stream.get_ref().1.alpn_protocol() == Some(HTTP2);
    let (upstream, reset) = (AsyncMutex::default(), Notify::new());
    let client = Arc::new(Client { shared, socket, upstream, reset });
    let serving = Arc::clone(&client);
    let service = service_fn(move |request| Arc::clone(&serving).answer(request));
    let stream = TokioIo::new(stream);
    // A connection that ends in the middle is what a proxy of faults is for.
    if many {
        let serving = http2::Builder::new(TokioExecutor::new()).serve_connection(stream, service);
        tokio::select! {
            _ = serving => {}
            () = client.reset.notified() => {}
        }
    } else {
        let _ = http1::Builder::new().serve_connection(stream, service).with_upgrades().await;
    }
}

type Answer = Response<BoxBody<Bytes, io::Error>>;

/// One client, with its connection to the API server.
struct Client {
    shared: Arc<Shared>,
    socket: OwnedFd,
    upstream: AsyncMutex<Option<(bool, Upstream)>>,
    /// Ends a connection of HTTP/2 at once.
    reset: Notify,
}

impl Client {
    async fn answer(self: Arc<Self>, mut request: Request<Incoming>) -> io::Result<Answer> {
        let upgrade =
            request.headers().contains_key(UPGRADE).then(|| hyper::upgrade::on(&mut request));
        let (head, body) = request.into_parts();
        // All of it: whether it reaches the API server must not depend on the client's fate.
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let path = head.uri.path_and_query().map_or("/", |it| it.as_str()).to_owned();
        let seen = Seen { method: head.method.to_string(), path };
        let request = Request::from_parts(head, Full::new(body));
        let fault = self.judge(&seen);
        if let Some((code, body)) = fault.as_ref().and_then(Fault::status) {
            let mut answer = given(code, body.to_string());
            if let Some(Fault::TooManyRequests(seconds)) = fault {
                answer.headers_mut().insert(RETRY_AFTER, seconds.into());
            }
            return Ok(answer);
        }
        match fault {
            Some(Fault::Reset) => {
                let _ = rustix::net::sockopt::set_socket_linger(&self.socket, Some(Duration::ZERO));
                self.reset.notify_one();
                Err(io::Error::other("reset"))
            }
            Some(Fault::Refuse(time)) => {
                let open = self.shared.open.clone();
                open.send_replace(false);
                tokio::spawn(async move {
                    tokio::time::sleep(time).await;
                    open.send_replace(true);
                });
                std::future::pending().await
            }
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::Answer(text)) => Ok(given(200, text)),
            Some(Fault::Slow(time)) => {
                tokio::time::sleep(time).await;
                self.pass(request, upgrade, false).await
            }
            Some(Fault::Cut) => self.pass(request, upgrade, true).await,
            _ => self.pass(request, upgrade, false).await,
        }
    }

    /// Counts a request and finds what is to be done to it.
    fn judge(&self, seen: &Seen) -> Option<Fault> {
        let mut state = self.shared.state();
        let State { rules, observer, tally } = &mut *state;
        *tally.requests.entry(seen.method.clone()).or_default() += 1;
        tally.writes += usize::from(seen.is_write());
        let observed = observer.as_mut().and_then(|observer| observer(seen));
        let fault = observed.or_else(|| rules.iter_mut().find_map(|rule| rule.strike(seen)))?;
        *tally.injected.entry(fault.name()).or_default() += 1;
        Some(fault)
    }

    /// Hands a request on, on a task of its own: it arrives even if the client ends meanwhile.
    async fn pass(
        self: Arc<Self>,
        request: Request<Full<Bytes>>,
        upgrade: Option<hyper::upgrade::OnUpgrade>,
        cut: bool,
    ) -> io::Result<Answer> {
        let passing = tokio::spawn(async move {
            let mut response = self.ask(request).await?;
            if let Some(upgrade) = upgrade
                && response.status() == StatusCode::SWITCHING_PROTOCOLS
            {
                let beyond = hyper::upgrade::on(&mut response);
                tokio::spawn(async move {
                    if let (Ok(near), Ok(far)) = (upgrade.await, beyond.await) {
                        let (mut near, mut far) = (TokioIo::new(near), TokioIo::new(far));
                        let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                    }
                });
            }
            if cut {
                return half(response).await;
            }
            Ok(response.map(|body| BoxBody::new(body.map_err(io::Error::other))))
        });
        passing.await.map_err(io::Error::other)?
    }

    async fn ask(&self, request: Request<Full<Bytes>>) -> io::Result<Response<Incoming>> {
        let administrator = !request.headers().contains_key(AUTHORIZATION);
        let many = request.version() == Version::HTTP_2;
        let mut slot = self.upstream.lock().await;
        let response = if let Some((kind, upstream)) = slot.as_mut()
            && *kind == administrator
            && upstream.ready().await.is_ok()
        {
            upstream.send(request)
        } else {
            let mut upstream = self.shared.lines.connect(administrator, many).await?;
            let response = upstream.send(request);
            *slot = Some((administrator, upstream));
            response
        };
        drop(slot);
        response.await.map_err(io::Error::other)
    }
}

/// The first half of an answer, under a header that promises all of it.
async fn half(response: Response<Incoming>) -> io::Result<Answer> {
    let (mut head, body) = response.into_parts();
    let all = body.collect().await.map_err(io::Error::other)?.to_bytes();
    head.headers.insert(CONTENT_LENGTH, all.len().into());
    head.headers.remove(hyper::header::TRANSFER_ENCODING);
    let first = Frame::data(all.slice(..all.len() / 2));
    let frames = stream::iter([Ok(first), Err(io::Error::other("cut"))]);
    Ok(Response::from_parts(head, BoxBody::new(StreamBody::new(frames))))
}

fn given(code: u16, text: String) -> Answer {
    let body = Full::new(Bytes::from(text)).map_err(|never| match never {});
    let mut answer = Response::new(BoxBody::new(body));
    *answer.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::OK);
    let json = hyper::header::HeaderValue::from_static("application/json");
    answer.headers_mut().insert(CONTENT_TYPE, json);
    answer
}

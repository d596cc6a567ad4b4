//! `version`: this program, the istioctl that it would use, and what clusters run. Reads only.

use std::collections::BTreeSet;

use serde_json::Value;

use super::connect::{Unconnected, connect, connect_options};
use super::event::Events;
use super::fleet;
use super::home;
use super::identity;
use super::istioctl;
use super::local::{Local, Options, Site};
use super::status::{API_VERSION, ask_istiods, told};
use crate::error::{Failure, beside};
use crate::files;
use crate::istio::istiod;
use crate::istio::version::{self, Support, Version};
use crate::kube::{Cluster, Error, Kubeconfig, KubernetesVersion};
use crate::topology::{self, ContextName, DEFAULT_NAMESPACE, Selector};

mod model;

pub use model::*;

/// Finds out the versions: of this program and of istioctl, and where `options` selects contexts,
/// those of their clusters. One that does not answer is part of the answer.
///
/// # Errors
/// When it cannot be told which clusters are meant.
pub async fn versions(options: &Options, events: &Events) -> Result<Versions, Failure> {
    let asked = if options.contexts.is_empty() { None } else { Some(Asked::find(options)?) };
    let looks = async {
        match &asked {
            Some(asked) => asked.look(options, events).await,
            None => Vec::new(),
        }
    };
    let (found, looks) = futures::join!(istioctl::survey(options.istioctl.as_deref()), looks);
    let istioctl = judge_istioctl(found);
    let clusters = looks.into_iter().map(|look| judge(look, &istioctl)).collect();
    let mesh_id = match &asked {
        Some(Asked::Mesh(local)) => Some(local.topology.mesh_id.to_string()),
        _ => None,
    };
    let path = std::env::current_exe().ok();
    let tool = Tool { version: env!("CARGO_PKG_VERSION"), path };
    Ok(Versions { api_version: API_VERSION, kind: KIND, tool, istioctl, mesh_id, clusters })
}

/// Whose clusters are asked.
enum Asked {
    /// Those of a mesh.
    Mesh(Box<Local>),
    /// Those of the kubeconfig, where there is no mesh, or one without contexts.
    Kubeconfig { kubeconfig: Kubeconfig, contexts: Vec<ContextName> },
}

impl Asked {
    fn find(options: &Options) -> Result<Self, Failure> {
        if has_contexts(options)? {
            return Ok(Self::Mesh(Box::new(Local::load(options)?)));
        }
        let kubeconfig = Kubeconfig::load(options.choice.kubeconfig.as_deref())?;
        let names: Vec<ContextName> =
            kubeconfig.names().filter_map(|name| ContextName::new(name).ok()).collect();
        let selectors = options.contexts.iter().map(|text| text.parse::<Selector>());
        let selectors = selectors.collect::<Result<Vec<_>, _>>()?;
        let contexts = topology::select(&names, &selectors).map_err(|error| match &error {
            // There may be any number of them.
            topology::Error::NoMatch { meant: None, .. }
            | topology::Error::NothingSelected { .. } => Failure::usage(format!(
                "{error}, and there is no mesh, so those of the kubeconfig are meant"
            ))
            .hint(format!(
                "list them: `kubectl{} config get-contexts -o name`",
                options.choice.same_kubeconfig()
            )),
            _ => error.into(),
        })?;
        Ok(Self::Kubeconfig { kubeconfig, contexts })
    }

    async fn look(&self, options: &Options, events: &Events) -> Vec<Look> {
        match self {
            Self::Mesh(local) => {
                let sites = local.sites.iter().chain(&local.leavers);
                let looks = sites.filter(|site| site.selected).map(|site| async move {
                    let seen = Box::pin(of_member(local, options, site));
                    let (context, server) = (site.context(), &site.entry.server);
                    let seen = told(context, server, events, seen, why_not).await;
                    Look { context: context.to_owned(), server: server.clone(), seen }
                });
                fleet::all(options.parallel, looks).await
            }
            Self::Kubeconfig { kubeconfig, contexts } => {
                let looks = contexts.iter().map(|context| async move {
                    let context = context.as_str();
                    let entry = kubeconfig.context(context);
                    let server = entry.map(|entry| entry.server).unwrap_or_default();
                    let seen = Box::pin(async {
                        let cluster =
                            kubeconfig.connect(context, &connect_options(options)).await?;
                        Ok(look(&cluster, options, DEFAULT_NAMESPACE).await?)
                    });
                    let seen = told(context, &server, events, seen, why_not).await;
                    Look { context: context.to_owned(), server, seen }
                });
                fleet::all(options.parallel, looks).await
            }
        }
    }
}

/// Whether there is a mesh with contexts, or one that was named.
fn has_contexts(options: &Options) -> Result<bool, Failure> {
    let choice = &options.choice;
    let named = choice.dir.is_some() || choice.file.is_some() || choice.mesh.is_some();
    if !named && !home::root().is_ok_and(|root| !home::meshes(&root).is_empty()) {
        return Ok(false);
    }
    let file = home::find(choice)?.topology;
    let topology = files::read(&file)?.map(|text| topology::parse(&text, &file));
    // As `init` leaves it. What else is wrong is told by who loads it.
    Ok(!matches!(topology, Some(Err(topology::Error::NoContexts { .. }))))
}

/// One cluster as it was seen.
struct Look {
    context: String,
    server: String,
    seen: Result<Seen, Unconnected>,
}

/// What a cluster runs.
struct Seen {
    kubernetes: KubernetesVersion,
    /// The versions of its control planes; `None` for one that cannot be told.
    istio: Result<BTreeSet<Option<String>>, Failure>,
}

impl From<Error> for Unconnected {
    fn from(error: Error) -> Self {
        Self::Broken(error.into())
    }
}

fn why_not(seen: &Result<Seen, Unconnected>) -> Option<&Failure> {
    seen.as_ref().err().map(Unconnected::failure)
}

async fn of_member(local: &Local, options: &Options, site: &Site) -> Result<Seen, Unconnected> {
    let cluster = connect(local, options, site.context()).await?;
    let (seen, uid) = futures::join!(look(&cluster, options, site.namespace()), cluster.uid());
    // Who may not read the UID may ask for versions all the same.
    if let Ok(uid) = uid {
        identity::check_uid(local, options, site, uid).map_err(Unconnected::OtherCluster)?;
    }
    Ok(seen?)
}

/// Looks at a cluster; `namespace` is where the control plane is looked for by a user who may not
/// look everywhere.
async fn look(cluster: &Cluster, options: &Options, namespace: &str) -> Result<Seen, Error> {
    let cluster = cluster.with_deadline(options.request_timeout);
    let (kubernetes, istio) =
        futures::join!(cluster.version(), control_planes(&cluster, namespace));
    let kubernetes = kubernetes?;
    match istio {
        Err(error) if error.is_unreachable() => Err(error),
        istio => Ok(Seen { kubernetes, istio: istio.map_err(Failure::from) }),
    }
}

async fn control_planes(
    cluster: &Cluster,
    namespace: &str,
) -> Result<BTreeSet<Option<String>>, Error> {
    let list = |namespace| cluster.list("apps/v1", "Deployment", namespace, Some(istiod::SELECTOR));
    let istiods = match list(None).await {
        Err(Error::Forbidden { .. }) => list(Some(namespace)).await?,
        all => all?,
    };
    let of = |istiod: &Value| istiod["metadata"]["namespace"].as_str().map(str::to_owned);
    let namespaces: BTreeSet<String> = istiods.iter().filter_map(of).collect();
    let mut versions = BTreeSet::new();
    for namespace in namespaces {
        // What runs says more than an image tag. It cannot always be asked.
        let (_, replicas) = ask_istiods(cluster, &namespace, &[]).await.unwrap_or_default();
        let told: Vec<String> = replicas.into_iter().filter_map(|it| it.metrics.version).collect();
        if told.is_empty() {
            let here = istiods.iter().filter(|istiod| of(istiod).as_ref() == Some(&namespace));
            versions.extend(here.map(version::of_istiod));
        } else {
            versions.extend(told.into_iter().map(Some));
        }
    }
    Ok(versions)
}

fn judge_istioctl(found: istioctl::Survey) -> IstioctlVersion {
    let old =
        || found.version.as_deref().and_then(Version::parse).is_some_and(|it| it < version::OLDEST);
    let state = match &found.unfit {
        None => IstioctlState::Ok,
        Some(_) if found.path.is_none() => IstioctlState::Missing,
        Some(_) if old() => IstioctlState::TooOld,
        Some(_) => IstioctlState::NotUsable,
    };
    let (reason, hints) = found.unfit.map(|it| (it.message, it.hints)).unzip();
    let hints = hints.unwrap_or_default();
    IstioctlVersion { state, reason, hints, version: found.version, path: found.path }
}

/// Judges what was seen of a cluster.
fn judge(look: Look, istioctl: &IstioctlVersion) -> ClusterVersions {
    let Look { context, server, seen } = look;
    let mut versions = ClusterVersions {
        context,
        server,
        state: Combination::Supported,
        reason: None,
        hints: Vec::new(),
        kubernetes: None,
        istio: None,
        istioctl_ahead: None,
    };
    let (state, failure) = match seen {
        Ok(seen) => return judge_seen(versions, seen, istioctl),
        Err(Unconnected::OtherCluster(failure)) => (Combination::OtherCluster, failure),
        Err(Unconnected::Broken(failure)) => (Combination::Unreachable, failure),
    };
    versions.fail(state, failure);
    versions
}

fn judge_seen(
    mut versions: ClusterVersions,
    seen: Seen,
    istioctl: &IstioctlVersion,
) -> ClusterVersions {
    let Seen { kubernetes, istio } = seen;
    versions.kubernetes = Some(kubernetes.git_version.clone());
    let kubernetes = Version { major: kubernetes.major, minor: kubernetes.minor };
    let rendered = istioctl.version.as_deref().filter(|_| istioctl.state == IstioctlState::Ok);
    let rendered = rendered.and_then(Version::parse);
    let found = match istio {
        Ok(found) => found,
        Err(failure) => {
            versions.fail(Combination::Unknown, failure);
            return versions;
        }
    };
    let names: Vec<&str> = found.iter().flatten().map(String::as_str).collect();
    versions.istio = (!names.is_empty()).then(|| names.join(","));
    if found.is_empty() {
        versions.state = Combination::NoIstio;
        // What an apply would make of it.
        versions.reason = rendered.and_then(|istio| match version::support(istio, kubernetes) {
            Support::Supported => None,
            Support::NewerThanTested(why) | Support::TooOld(why) => {
                Some(format!("for istioctl {istio}: {why}"))
            }
        });
        return versions;
    }
    let parsed = found.iter().map(|it| it.as_deref().and_then(Version::parse));
    let words = parsed.clone().map(|it| match it {
        None => (Combination::Unknown, Some("its istiod does not tell its version".to_owned())),
        Some(istio) => match version::support(istio, kubernetes) {
            Support::Supported => (Combination::Supported, None),
            Support::NewerThanTested(why) => (Combination::NewerThanTested, Some(why)),
            Support::TooOld(why) => (Combination::TooOld, Some(why)),
        },
    });
    if let Some((state, reason)) = words.max() {
        (versions.state, versions.reason) = (state, reason);
    }
    let ahead = parsed.flatten().filter_map(|istio| {
        let rendered = rendered.filter(|it| it.major == istio.major)?;
        Some(i64::from(rendered.minor) - i64::from(istio.minor))
    });
    versions.istioctl_ahead = ahead.max_by_key(|minors| minors.abs());
    versions
}

impl ClusterVersions {
    fn fail(&mut self, state: Combination, failure: Failure) {
        let message = beside(&failure.message, &self.context).to_owned();
        (self.state, self.reason) = (state, Some(message));
        self.hints = failure.hints;
    }
}

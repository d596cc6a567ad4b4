//! Everything that is known before a cluster is asked: files, kubeconfig, names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::home::{self, Choice, Home, flag};
use super::identity;
use super::state::{Left, Record, State};
use crate::error::Failure;
use crate::istio::base::{self, Base, Role};
use crate::istio::operator::GatewayOverride;
use crate::kube::kubeconfig::Sources;
use crate::kube::{ContextEntry, Kubeconfig, quote, without};
use crate::plan::prune::Linked;
use crate::topology::{
    self, ClusterName, ContextName, ControlPlane, Member, Namespace, NetworkName, Selector,
    Topology,
};

/// What the user asked for by the flags that every command takes.
#[derive(Debug, Clone)]
pub struct Options {
    /// Which mesh.
    pub choice: Choice,
    /// Selectors of contexts; none means all.
    pub contexts: Vec<String>,
    /// The istioctl, if not the first on PATH.
    pub istioctl: Option<PathBuf>,
    /// How many clusters are worked on at once.
    pub parallel: usize,
    /// How long to wait for one cluster.
    pub timeout: Duration,
    /// How long one request may take.
    pub request_timeout: Duration,
    /// Whether nothing may be asked, by exec plugins either.
    pub no_input: bool,
    /// The command that is run, as in `apply`.
    pub command: &'static str,
    /// The contexts that may trust another CA than at the last apply, and with `=` and a UID those
    /// that may lead to that cluster.
    pub accept_identity: Vec<String>,
    /// How long to wait for another run that works on the same.
    pub wait_lock: Duration,
}

impl Options {
    /// The flags by which another command means the same mesh, kubeconfig and istioctl, each with a
    /// space before it.
    pub fn same_mesh(&self, mesh_id: &str) -> String {
        let named = self.choice.dir.is_some() || self.choice.file.is_some();
        let several = || home::root().is_ok_and(|root| home::meshes(&root).len() > 1);
        let mesh = !named && !mesh_id.is_empty() && several();
        let mesh = if mesh { format!(" --mesh {}", quote(mesh_id)) } else { String::new() };
        mesh + &self.choice.same_files() + &flag("--istioctl", self.istioctl.as_deref())
    }

    /// The flags by which another command means the same mesh and the same contexts.
    pub fn same_run(&self, mesh_id: &str) -> String {
        let contexts = self.contexts.iter().map(|text| format!(" --contexts {}", quote(text)));
        self.same_mesh(mesh_id) + &contexts.collect::<String>()
    }
}

/// A member of the mesh with everything that is known of it locally.
#[derive(Debug, Clone)]
pub struct Site {
    /// Its entry in the topology.
    pub member: Member,
    /// Its Istio cluster name.
    pub cluster: ClusterName,
    /// Its entry in the kubeconfig.
    pub entry: ContextEntry,
    /// Whether this run works on it.
    pub selected: bool,
    /// Its own operator overlay.
    pub overlay: Option<Base>,
}

impl Site {
    /// The kubeconfig context.
    pub fn context(&self) -> &str {
        self.member.context.as_ref()
    }

    /// The namespace of its control plane.
    pub fn namespace(&self) -> &str {
        self.member.namespace.as_ref()
    }

    /// The API server's address for the other clusters.
    pub fn peer_server(&self) -> &str {
        self.member.server.as_deref().unwrap_or(&self.entry.server)
    }

    /// The flags by which kubectl asks this cluster, each with a space before it.
    pub fn same_cluster(&self) -> String {
        self.entry.context().same_cluster()
    }

    /// Whether its control plane is installed by the tool.
    pub fn managed(&self) -> bool {
        self.member.control_plane == ControlPlane::Managed
    }
}

/// What a run wants to know of the clusters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum View {
    /// What is to be applied.
    Wanted,
    /// What was applied.
    Applied,
    /// What is to be applied, without a way to get there.
    Offline,
}

/// The local side of a mesh.
pub struct Local {
    /// Its files.
    pub home: Home,
    /// The topology as written.
    pub topology: Topology,
    /// The members in the order of the topology.
    pub sites: Vec<Site>,
    /// What was applied and is in the topology no more, as far as the kubeconfig has it; empty
    /// where `sites` has it.
    pub leavers: Vec<Site>,
    /// The contexts that this run gives up, with what was on record of them.
    pub given_up: Vec<(String, Record)>,
    /// The user's kubeconfig.
    pub kubeconfig: Kubeconfig,
    /// What was applied before.
    pub state: State,
    /// The flags of this run by which another command means the same mesh, see
    /// [`Options::same_mesh`].
    pub same_mesh: String,
    /// And those by which it means the same contexts too.
    pub same_run: String,
}

impl Local {
    /// Loads and validates everything local; nothing is written and no cluster is asked.
    pub fn load(options: &Options) -> Result<Self, Failure> {
        Self::read(options, View::Wanted)
    }

    /// As [`Local::load`], but without a kubeconfig: of the clusters nothing is known but what the
    /// mesh's own files say.
    pub fn load_offline(options: &Options) -> Result<Self, Failure> {
        Self::read(options, View::Offline)
    }

    /// As [`Local::load`], but for what was applied rather than what is to be applied: with the
    /// contexts that the topology lists no more, as long as the kubeconfig has them, and each
    /// cluster in the namespace that it was applied to.
    pub fn load_applied(options: &Options) -> Result<Self, Failure> {
        Self::read(options, View::Applied)
    }

    fn read(options: &Options, view: View) -> Result<Self, Failure> {
        let applied = view == View::Applied;
        let home = home::find(&options.choice)?;
        let topology = home::read_topology(&options.choice, &home.topology)?;
        check_mesh_id(&topology, options.choice.mesh.as_deref())?;
        let state = State::load(&home.state(), topology.mesh_id.as_ref())?;
        let kubeconfig = match view {
            View::Offline => Kubeconfig::load_from(&Sources::default())?,
            View::Wanted | View::Applied => Kubeconfig::load(options.choice.kubeconfig.as_deref())?,
        };
        let names = topology::resolve(&topology, &pinned(&state))?;
        let mut members: Vec<(Member, ClusterName)> =
            topology.members.iter().cloned().zip(names.into_iter().map(|(_, name)| name)).collect();
        let mut left = leavers(&topology, &state, &kubeconfig, &home);
        if applied {
            for (member, _) in &mut members {
                let record = state.contexts.get(member.context.as_str());
                if let Some(namespace) = record.and_then(|r| Namespace::new(&r.namespace).ok()) {
                    member.namespace = namespace;
                }
            }
            members.append(&mut left);
        } else {
            // What was left standing on purpose is not looked at again.
            let kept = |context: &str| state.contexts[context].left == Some(Left::Kept);
            left.retain(|(member, _)| !kept(member.context.as_str()));
        }
        let selectors = options.contexts.iter().map(|text| text.parse::<Selector>());
        let selectors = selectors.collect::<Result<Vec<_>, _>>()?;
        let everyone = members.iter().chain(&left).map(|(member, _)| &member.context);
        let selected = topology::select(everyone, &selectors)?;
        let site = |(member, cluster): (Member, ClusterName)| {
            let selected = selected.contains(&member.context);
            let entry = match kubeconfig.context(member.context.as_str()) {
                Ok(entry) => entry,
                // Nothing is asked of a cluster that this run leaves out.
                Err(_) if !selected || view == View::Offline => {
                    ContextEntry::unknown(member.context.as_str())
                }
                Err(error) => {
                    return Err(Failure { excerpt: Some(member.place.clone()), ..error.into() });
                }
            };
            let overlay = if applied { None } else { read_overlay(&member)? };
            Ok(Site { member, cluster, entry, selected, overlay })
        };
        let sites = members.into_iter().map(site).collect::<Result<Vec<_>, Failure>>()?;
        let leavers = left.into_iter().map(site).collect::<Result<Vec<_>, Failure>>()?;
        let local = Self {
            same_mesh: options.same_mesh(topology.mesh_id.as_ref()),
            same_run: options.same_run(topology.mesh_id.as_ref()),
            home,
            topology,
            sites,
            leavers,
            given_up: Vec::new(),
            kubeconfig,
            state,
        };
        local.check_accepted(options)?;
        Ok(local)
    }

    /// Takes contexts for what others were called at an earlier apply, `(then, now)`: the record
    /// moves with them, and with it the cluster name.
    pub(super) fn follow(&mut self, renamed: &[(String, String)]) -> Result<(), Failure> {
        for (then, now) in renamed {
            if let Some(record) = self.state.contexts.remove(then) {
                self.state.contexts.insert(now.clone(), record);
            }
        }
        // A former name of a member is no cluster of its own.
        let (state, topology) = (&mut self.state, &self.topology);
        let members =
            state.contexts.iter().filter(|(context, _)| topology.member(context).is_some());
        let uids: BTreeSet<String> = members.map(|(_, record)| record.uid.clone()).collect();
        state.contexts.retain(|context, record| {
            topology.member(context).is_some() || !uids.contains(&record.uid)
        });
        let names = topology::resolve(&self.topology, &pinned(&self.state))?;
        for (site, (_, name)) in self.sites.iter_mut().zip(names) {
            site.cluster = name;
        }
        self.leavers.retain(|leaver| self.state.contexts.contains_key(leaver.context()));
        Ok(())
    }

    /// Gives up contexts that were applied and that the topology lists no more: what is there is
    /// the user's business from now on.
    pub fn forget(&mut self, contexts: &[String]) -> Result<(), Failure> {
        for context in contexts {
            if self.topology.member(context).is_some() {
                return Err(Failure::usage(format!(
                    "`{context}` is in the topology, so it cannot be given up"
                ))
                .hint(format!(
                    "leave it out of this run: `{}`, or remove it from {}",
                    without(context),
                    self.home.topology.display()
                )));
            }
            let Some(record) = self.state.contexts.remove(context) else {
                return Err(Failure::usage(format!(
                    "`{context}` is not on record as a cluster that left the mesh"
                ))
                .hint("leave out `--forget`: there is nothing to give up"));
            };
            self.given_up.push((context.clone(), record));
            self.leavers.retain(|leaver| leaver.context() != context);
        }
        Ok(())
    }

    /// Contexts that were applied and that neither the topology nor the kubeconfig has any more.
    pub(super) fn lost(&self) -> impl Iterator<Item = (&String, &Record)> {
        self.state.contexts.iter().filter(|(context, record)| {
            record.left != Some(Left::Kept)
                && self.topology.member(context).is_none()
                && !self.sites.iter().chain(&self.leavers).any(|s| s.context() == *context)
        })
    }

    /// The members that a member is to be linked with, whether this run works on them or not.
    fn joined_with(&self, site: &Site) -> impl Iterator<Item = &Site> {
        let (joined, context) = (site.member.registry_join, site.context().to_owned());
        let is_peer =
            move |other: &&Site| joined && other.member.registry_join && other.context() != context;
        self.sites.iter().filter(is_peer)
    }

    /// The names of the clusters that a member is to be linked with.
    pub(super) fn peer_names(&self, site: &Site) -> BTreeSet<&str> {
        self.joined_with(site).map(|other| other.cluster.as_ref()).collect()
    }

    /// The links of a member that stay. To those that are not `at_hand` the link that there is
    /// stays, under the name on record too.
    pub(super) fn linked_with(&self, site: &Site, at_hand: &BTreeSet<String>) -> Linked<'_> {
        let mut linked = Linked { names: self.peer_names(site), ..Linked::default() };
        for other in self.joined_with(site).filter(|other| !at_hand.contains(other.context())) {
            match self.state.contexts.get(other.context()) {
                Some(record) => drop(linked.names.insert(&record.cluster)),
                None => linked.unsure = true,
            }
        }
        let recorded = self.state.contexts.values().map(|record| record.cluster.as_str());
        let members = self.sites.iter().map(|other| other.cluster.as_ref());
        let given_up = self.given_up.iter().map(|(_, record)| record.cluster.as_str());
        linked.known = recorded.chain(members).chain(given_up).collect();
        linked
    }

    /// The hint for everything that an apply mends.
    pub(super) fn mend(&self) -> String {
        format!("mend it: `kubectl multimesh apply{}`", self.same_run)
    }

    /// The members that this run works on.
    pub fn selected(&self) -> impl Iterator<Item = &Site> {
        self.sites.iter().filter(|site| site.selected)
    }

    /// Whether the mesh spans several networks, so that it needs east-west gateways.
    pub fn many_networks(&self) -> bool {
        let networks: BTreeSet<_> =
            self.sites.iter().map(|site| site.member.network.as_ref()).collect();
        networks.len() > 1
    }

    /// The selected members that a member is to be linked with.
    pub fn peers_of(&self, site: &Site) -> Vec<&Site> {
        let joined = |s: &Site| s.member.registry_join;
        let peers = self.selected().filter(|s| joined(s) && s.context() != site.context());
        if joined(site) { peers.collect() } else { Vec::new() }
    }

    /// The addresses under which gateways are reached, where the topology overrides them:
    /// network, cluster, address, port.
    pub fn gateway_addresses(&self) -> Vec<GatewayOverride> {
        let overridden = self.sites.iter().filter_map(|site| {
            let gateway = site.member.gateway.as_ref()?;
            Some(GatewayOverride {
                network: site.member.network.to_string(),
                cluster: site.cluster.to_string(),
                host: gateway.host.to_string(),
                port: gateway.port,
            })
        });
        overridden.collect()
    }

    /// Refuses contexts on the command line that there are none of.
    fn check_accepted(&self, options: &Options) -> Result<(), Failure> {
        let known = || {
            let recorded = self.state.contexts.keys().map(String::as_str);
            recorded.chain(self.sites.iter().map(Site::context))
        };
        let about_none =
            |text: &&String| !known().any(|context| identity::accepted(text, context).is_some());
        let Some(text) = options.accept_identity.iter().find(about_none) else { return Ok(()) };
        let wrong =
            |why: &str| Failure::usage(format!("`--accept-identity {}`: {why}", quote(text)));
        let is_short =
            |context: &str| text.strip_prefix(context).is_some_and(|rest| rest.starts_with('='));
        Err(if known().any(is_short) {
            wrong("this is too little of a UID")
                .hint("give at least its first 8 characters, as the refusal shows them")
        } else {
            wrong("the mesh has no such context")
                .hint(format!("the contexts are listed in {}", self.home.topology.display()))
        })
    }

    /// The user's operator for all clusters; without a file, an empty one.
    pub fn base(&self) -> Result<Base, Failure> {
        let path = self.home.base();
        if !path.exists() {
            return Ok(Base::empty());
        }
        Ok(base::read(&home::read(&path)?, &path, Role::Base)?)
    }
}

fn check_mesh_id(topology: &Topology, wanted: Option<&str>) -> Result<(), Failure> {
    match wanted {
        Some(wanted) if wanted != topology.mesh_id.as_ref() => Err(Failure::usage(format!(
            "{} is the topology of the mesh `{}`, not of `{wanted}`",
            topology.file.display(),
            topology.mesh_id
        ))
        .hint("unset MESH_ID and leave out `--mesh`, or name the right topology")),
        _ => Ok(()),
    }
}

fn pinned(state: &State) -> BTreeMap<ContextName, ClusterName> {
    let records = state.contexts.iter();
    records
        .filter_map(|(context, record)| {
            let context = ContextName::new(context).ok()?;
            Some((context, ClusterName::new(&record.cluster).ok()?))
        })
        .collect()
}

/// The contexts that were applied and are in the topology no more. Those that the kubeconfig lacks
/// cannot be reached.
fn leavers(
    topology: &Topology,
    state: &State,
    kubeconfig: &Kubeconfig,
    home: &Home,
) -> Vec<(Member, ClusterName)> {
    let left = state.contexts.iter().filter(|(context, _)| {
        topology.member(context).is_none() && kubeconfig.context(context).is_ok()
    });
    left.filter_map(|(context, record)| {
        let cluster = ClusterName::new(&record.cluster).ok()?;
        let member = Member::recorded(
            ContextName::new(context).ok()?,
            cluster.clone(),
            NetworkName::new(&record.network).ok()?,
            Namespace::new(&record.namespace).ok()?,
            home.state(),
        );
        Some((member, cluster))
    })
    .collect()
}

/// Reads a file that a context of the topology names.
pub(super) fn read_for(member: &Member, key: &str, path: &Path) -> Result<String, Failure> {
    home::read(path).map_err(|failure| Failure {
        excerpt: Some(member.place_of(key).clone()),
        message: format!("`{}`: {}", member.context, failure.message),
        ..failure
    })
}

fn read_overlay(member: &Member) -> Result<Option<Base>, Failure> {
    let Some(path) = &member.overlay else { return Ok(None) };
    let text = read_for(member, "overlay", path)?;
    Ok(Some(base::read(&text, path, Role::Overlay)?))
}

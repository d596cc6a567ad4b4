//! A mesh as its owner describes it in `topology.yaml`.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use super::label::{AccountName, ClusterName, ContextName, MeshId, Namespace, NetworkName};
use super::source::{Note, Place};

/// The port of an east-west gateway for mutual TLS between networks.
pub const GATEWAY_PORT: u16 = 15443;

/// A mesh: its identity and its clusters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topology {
    /// `mesh_id`.
    pub mesh_id: MeshId,
    /// `contexts`, in the order of the file; never empty, every context once.
    pub members: Vec<Member>,
    /// The file that says so.
    pub file: PathBuf,
    /// What the user should know about the file.
    pub notes: Vec<Note>,
}

impl Topology {
    /// The member of that context.
    pub fn member(&self, context: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.context.as_str() == context)
    }

    /// The contexts, in the order of the file.
    pub fn contexts(&self) -> impl Iterator<Item = &ContextName> {
        self.members.iter().map(|member| &member.context)
    }

    /// The networks with their members; more than one means that gateways are needed.
    pub fn networks(&self) -> BTreeMap<&NetworkName, Vec<&Member>> {
        let mut networks = BTreeMap::<_, Vec<_>>::new();
        for member in &self.members {
            networks.entry(&member.network).or_default().push(member);
        }
        networks
    }
}

/// A cluster of the mesh, known by its kubeconfig context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The kubeconfig context.
    pub context: ContextName,
    /// Where the context is listed.
    pub place: Place,
    /// `network`: clusters of one network reach each other's pods directly.
    pub network: NetworkName,
    /// `namespace` of Istio.
    pub namespace: Namespace,
    /// `serviceAccountReader`: the account whose token the other clusters hold.
    pub reader: AccountName,
    /// Whether the cluster takes part in remote secrets: the opposite of `disableRegistryJoin`.
    pub registry_join: bool,
    /// `cluster`: its name in Istio, where the user chose one.
    pub cluster: Option<ClusterName>,
    /// `server`: the URL by which the other clusters reach this API server.
    pub server: Option<String>,
    /// `tls_server_name`: the name that the API server's certificate is checked against.
    pub tls_server_name: Option<String>,
    /// `proxy_url`: the proxy through which the other clusters reach this API server.
    pub proxy_url: Option<String>,
    /// `ca`: a PEM file with the authorities that signed the API server's certificate; relative
    /// paths are already joined to the directory of the topology file.
    pub ca: Option<PathBuf>,
    /// `gateway`: the address of the east-west gateway as other networks see it.
    pub gateway: Option<GatewayAddress>,
    /// `overlay`: an `IstioOperator` file for this cluster alone; joined like `ca`.
    pub overlay: Option<PathBuf>,
    /// `control_plane`: who installs Istio.
    pub control_plane: ControlPlane,
    pub(super) places: BTreeMap<&'static str, Place>,
}

impl Member {
    /// A member that the topology lists no more, as far as the record in `file` knows it.
    pub fn recorded(
        context: ContextName,
        cluster: ClusterName,
        network: NetworkName,
        namespace: Namespace,
        file: PathBuf,
    ) -> Self {
        Self {
            context,
            place: Place::start(file),
            network,
            namespace,
            reader: AccountName::default(),
            registry_join: true,
            cluster: Some(cluster),
            server: None,
            tls_server_name: None,
            proxy_url: None,
            ca: None,
            gateway: None,
            overlay: None,
            control_plane: ControlPlane::default(),
            places: BTreeMap::new(),
        }
    }

    /// Where `key` of this context is written, or where the context is if it has no such key.
    pub fn place_of(&self, key: &str) -> &Place {
        self.places.get(key).unwrap_or(&self.place)
    }
}

/// Who installs and updates Istio in a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ControlPlane {
    /// This tool.
    #[default]
    Managed,
    /// Somebody else: only trust, gateway and links are this tool's.
    Existing,
}

impl fmt::Display for ControlPlane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Managed => "managed",
            Self::Existing => "existing",
        })
    }
}

/// The address of a gateway as it is seen from outside its network.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GatewayAddress {
    /// Its IP address or host name.
    pub host: GatewayHost,
    /// Its port; [`GATEWAY_PORT`] where the user names none.
    pub port: u16,
}

/// An IP address or a host name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum GatewayHost {
    /// An IP address.
    Ip(IpAddr),
    /// A host name, lower-case.
    Name(String),
}

impl fmt::Display for GatewayHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Name(name) => f.pad(name),
        }
    }
}

impl fmt::Display for GatewayAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host {
            GatewayHost::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]:{}", self.port),
            _ => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

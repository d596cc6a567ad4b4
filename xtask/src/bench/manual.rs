//! The mesh by hand, as Istio documents it: openssl, kubectl and istioctl, one cluster after the
//! other (istio.io: "Plug in CA Certificates", "Install Multi-Primary on different networks").

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use multimesh_lab::{Cluster, MESH_BASE};
use serde_json::{Value, json};

use super::ground::Ground;
use super::measure::{self, go_on};

pub(super) const NAMESPACE: &str = "istio-system";
const LIMIT: Duration = Duration::from_secs(120);
const SIGN: &str = "basicConstraints=critical,CA:true,pathlen:0\n\
    keyUsage=critical,digitalSignature,keyCertSign\n\
    subjectAltName=DNS:istiod.istio-system.svc\n";

/// A person with a working directory.
pub(super) struct Manual<'a> {
    ground: &'a Ground<'a>,
    clusters: Vec<Cluster>,
    folder: tempfile::TempDir,
}

impl<'a> Manual<'a> {
    pub(super) fn new(ground: &'a Ground<'a>, clusters: Vec<Cluster>) -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
        for cluster in &clusters {
            fs::create_dir(folder.path().join(&cluster.context)).map_err(|e| e.to_string())?;
        }
        Ok(Self { ground, clusters, folder })
    }

    /// The mesh from nothing; returns the seconds.
    pub(super) fn install(&self) -> Result<f64, String> {
        let started = Instant::now();
        certificates(self.folder.path(), &self.contexts())?;
        for cluster in &self.clusters {
            let label = format!("topology.istio.io/network={}", cluster.network);
            self.kubectl(cluster, &["create", "namespace", NAMESPACE])?;
            self.kubectl(cluster, &["label", "namespace", NAMESPACE, &label])?;
            let mut secret: Vec<String> =
                ["create", "secret", "generic", "cacerts", "--namespace", NAMESPACE]
                    .map(String::from)
                    .into();
            secret.extend(
                CACERTS.map(|name| format!("--from-file={}", self.file(cluster, name).display())),
            );
            let secret: Vec<&str> = secret.iter().map(String::as_str).collect();
            self.kubectl(cluster, &secret)?;
        }
        self.rest(true)?;
        Ok(started.elapsed().as_secs_f64())
    }

    /// All of it again, but for what is made once; returns the seconds.
    pub(super) fn again(&self) -> Result<f64, String> {
        let started = Instant::now();
        self.rest(true)?;
        Ok(started.elapsed().as_secs_f64())
    }

    /// As [`Manual::again`] on clusters where nothing becomes ready: what `istioctl install` would
    /// send for istiod is rendered and sent, and nothing is waited for.
    pub(super) fn again_without_nodes(&self) -> Result<f64, String> {
        let started = Instant::now();
        self.rest(false)?;
        Ok(started.elapsed().as_secs_f64())
    }

    fn rest(&self, nodes: bool) -> Result<(), String> {
        for cluster in &self.clusters {
            let (context, network) = (cluster.context.as_str(), cluster.network.as_str());
            // The tool's gateways that are there have other labels, which cannot be changed.
            let gateway = nodes.then(|| ("eastwest.yaml", eastwest(network, false)));
            let control_plane = ("control-plane.yaml", control_plane(context, network, false)?);
            for (name, operator) in std::iter::once(control_plane).chain(gateway) {
                let file = self.file(cluster, name);
                fs::write(&file, operator.to_string()).map_err(|e| e.to_string())?;
                if nodes {
                    let mut install = self.istioctl(cluster, &["install", "-y", "-f"])?;
                    measure::run(install.arg(&file))?;
                } else {
                    let mut render = self.istioctl(cluster, &["manifest", "generate", "-f"])?;
                    let rendered = measure::run(render.arg(&file))?.stdout;
                    let apply = ["apply", "--server-side", "--force-conflicts"];
                    self.apply(cluster, &apply, &rendered)?;
                }
            }
        }
        for cluster in &self.clusters {
            if nodes {
                let ip = "-o=jsonpath={.status.loadBalancer.ingress[0].ip}";
                let service =
                    ["get", "service", "istio-eastwestgateway", "--namespace", NAMESPACE, ip];
                until("the address of the gateway", || {
                    Ok(!self.kubectl(cluster, &service)?.is_empty())
                })?;
            }
            self.apply(cluster, &["apply"], &opening().to_string())?;
        }
        for cluster in &self.clusters {
            for peer in self.clusters.iter().filter(|it| it.number != cluster.number) {
                let words = ["create-remote-secret", "--name", &cluster.context];
                let secret = measure::run(&mut self.istioctl(cluster, &words)?)?.stdout;
                self.apply(peer, &["apply"], &secret)?;
            }
        }
        if nodes {
            for cluster in &self.clusters {
                until("istiod reading its peers", || {
                    let mut look = self.istioctl(cluster, &["remote-clusters"])?;
                    let (look, _) = measure::attempt(&mut look)?;
                    Ok(look.stdout.matches(" synced ").count() >= self.clusters.len())
                })?;
            }
        }
        Ok(())
    }

    fn contexts(&self) -> Vec<&str> {
        self.clusters.iter().map(|cluster| cluster.context.as_str()).collect()
    }

    fn file(&self, cluster: &Cluster, name: &str) -> PathBuf {
        self.folder.path().join(&cluster.context).join(name)
    }

    fn kubectl(&self, cluster: &Cluster, words: &[&str]) -> Result<String, String> {
        let mut kubectl = self.ground.command("kubectl")?;
        let sample = measure::run(kubectl.args(["--context", &cluster.context]).args(words))?;
        Ok(sample.stdout)
    }

    fn apply(&self, cluster: &Cluster, words: &[&str], objects: &str) -> Result<(), String> {
        let file = self.file(cluster, "objects.yaml");
        fs::write(&file, objects).map_err(|e| e.to_string())?;
        let file = file.display().to_string();
        self.kubectl(cluster, &[words, &["-f", &file]].concat()).map(drop)
    }

    fn istioctl(&self, cluster: &Cluster, words: &[&str]) -> Result<Command, String> {
        istioctl(self.ground, cluster, words)
    }
}

/// istioctl for a cluster.
pub(super) fn istioctl(
    ground: &Ground<'_>,
    cluster: &Cluster,
    words: &[&str],
) -> Result<Command, String> {
    let mut istioctl = ground.command("istioctl")?;
    istioctl.args(["--context", &cluster.context]).args(words);
    Ok(istioctl)
}

/// The files of a Secret `cacerts`.
pub(super) const CACERTS: [&str; 4] =
    ["ca-cert.pem", "ca-key.pem", "root-cert.pem", "cert-chain.pem"];

/// A root CA, and an intermediate CA for each context, in folders of those names.
pub(super) fn certificates(folder: &Path, contexts: &[&str]) -> Result<(), String> {
    let openssl = |words: &str| {
        measure::run(Command::new("openssl").current_dir(folder).args(words.split(' '))).map(drop)
    };
    openssl("genrsa -out root-key.pem 4096")?;
    openssl(
        "req -x509 -new -key root-key.pem -subj /O=Istio/CN=Root-CA -days 3650 -sha256 \
         -out root-cert.pem -addext keyUsage=critical,digitalSignature,keyCertSign",
    )?;
    fs::write(folder.join("sign.cnf"), SIGN).map_err(|e| e.to_string())?;
    for context in contexts {
        openssl(&format!("genrsa -out {context}/ca-key.pem 4096"))?;
        openssl(&format!(
            "req -new -key {context}/ca-key.pem -subj /O=Istio/CN=Intermediate-CA/L={context} \
             -out {context}/ca.csr"
        ))?;
        openssl(&format!(
            "x509 -req -in {context}/ca.csr -CA root-cert.pem -CAkey root-key.pem -CAcreateserial \
             -days 730 -sha256 -extfile sign.cnf -out {context}/ca-cert.pem"
        ))?;
        let read = |name: &str| fs::read(folder.join(name)).map_err(|e| e.to_string());
        let (certificate, root) =
            (read(&format!("{context}/ca-cert.pem"))?, read("root-cert.pem")?);
        let write = |name: &str, bytes: &[u8]| {
            fs::write(folder.join(context).join(name), bytes).map_err(|e| e.to_string())
        };
        write("cert-chain.pem", &[certificate, root.clone()].concat())?;
        write("root-cert.pem", &root)?;
    }
    Ok(())
}

/// The operator of a control plane; `quick` lets the kubelet ask every second whether istiod is
/// ready, and not every three.
pub(super) fn control_plane(context: &str, network: &str, quick: bool) -> Result<Value, String> {
    let mut operator: Value = serde_saphyr::from_str(MESH_BASE).map_err(|e| e.to_string())?;
    operator["metadata"] = json!({"name": "control-plane"});
    let global = &mut operator["spec"]["values"]["global"];
    global["meshID"] = "mesh1".into();
    global["multiCluster"] = json!({"clusterName": context});
    global["network"] = network.into();
    if quick {
        operator["spec"]["components"]["pilot"]["k8s"]["readinessProbe"] = json!({
            "httpGet": {"path": "/ready", "port": 8080},
            "initialDelaySeconds": 1, "periodSeconds": 1, "timeoutSeconds": 5,
        });
    }
    Ok(operator)
}

/// The operator of an east-west gateway; `quick` lets the kubelet ask every second whether it is
/// ready, and not every 15.
pub(super) fn eastwest(network: &str, quick: bool) -> Value {
    let port = |name: &str, port: u16| json!({"name": name, "port": port, "targetPort": port});
    let mut k8s = json!({
        "env": [{"name": "ISTIO_META_REQUESTED_NETWORK_VIEW", "value": network}],
        "service": {"ports": [
            port("status-port", 15021), port("tls", 15443),
            port("tls-istiod", 15012), port("tls-webhook", 15017),
        ]},
    });
    if quick {
        k8s["readinessProbe"] = json!({
            "httpGet": {"path": "/healthz/ready", "port": 15021},
            "periodSeconds": 1, "timeoutSeconds": 3, "failureThreshold": 30,
        });
    }
    json!({
        "apiVersion": "install.istio.io/v1alpha1",
        "kind": "IstioOperator",
        "metadata": {"name": "eastwest"},
        "spec": {
            "profile": "empty",
            "components": {"ingressGateways": [{
                "name": "istio-eastwestgateway",
                "enabled": true,
                "label": {
                    "istio": "eastwestgateway",
                    "app": "istio-eastwestgateway",
                    "topology.istio.io/network": network,
                },
                "k8s": k8s,
            }]},
            "values": {
                "gateways": {"istio-ingressgateway": {"injectionTemplate": "gateway"}},
                "global": {"imagePullPolicy": "IfNotPresent", "network": network},
            },
        },
    })
}

/// The Gateway that opens the east-west gateway for services of the mesh.
pub(super) fn opening() -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "Gateway",
        "metadata": {"name": "cross-network-gateway", "namespace": NAMESPACE},
        "spec": {
            "selector": {"istio": "eastwestgateway"},
            "servers": [{
                "port": {"number": 15443, "name": "tls", "protocol": "TLS"},
                "tls": {"mode": "AUTO_PASSTHROUGH"},
                "hosts": ["*.local"],
            }],
        },
    })
}

fn until(what: &str, holds: impl Fn() -> Result<bool, String>) -> Result<(), String> {
    let end = Instant::now() + LIMIT;
    while !holds()? {
        go_on()?;
        if Instant::now() > end {
            return Err(format!("{what} is not there after {} s", LIMIT.as_secs()));
        }
        thread::sleep(Duration::from_millis(500));
    }
    Ok(())
}

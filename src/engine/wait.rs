//! Bounded waits that tell what is missing.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::error::Failure;
use crate::kube::{Cluster, ResourceId};
use crate::plan::object::Key;

/// The shortest time between two looks.
const SHORTEST: Duration = Duration::from_millis(100);
/// The longest time between two looks.
const LONGEST: Duration = Duration::from_secs(1);
/// This part of the time waited so far passes until the next look.
const PART: u32 = 20;
/// How often the user is told what is still missing.
const TELL: Duration = Duration::from_secs(5);
/// How long a look, and the question why, may take though the time for the wait is over.
const LEAST: Duration = Duration::from_secs(1);

/// What a wait is for, and until when.
pub(super) struct Wait<'a> {
    /// The cluster.
    pub cluster: &'a Cluster,
    /// When to give up.
    pub deadline: Instant,
    /// How long the whole wait may take, for the message.
    pub limit: Duration,
    /// Takes what is missing, now and then.
    pub tell: &'a (dyn Fn(String) + Sync),
}

/// What a look at the cluster found.
enum Look<T> {
    There(T),
    Missing(String),
    /// What this Deployment lacks. Its pods may tell why, and are asked where the user reads it.
    Incomplete(String, Value),
}

/// How long after the last look the next one is made.
fn interval(waited: Duration) -> Duration {
    (waited / PART).clamp(SHORTEST, LONGEST)
}

impl Wait<'_> {
    /// Looks again and again until `look` finds what it wants, or the time is over. A request
    /// that fails is looked at as missing: an API server may restart meanwhile. One that falls silent
    /// does not prolong the wait.
    async fn until<T>(
        &self,
        what: &str,
        hint: &str,
        look: impl AsyncFn() -> Result<Look<T>, crate::kube::Error>,
    ) -> Result<T, Failure> {
        let started = Instant::now();
        let mut told = started;
        let (mut missing, mut reason) = (String::new(), String::new());
        loop {
            let asked = Instant::now();
            let end = self.deadline.max(asked + LEAST);
            let mut deployment = None;
            match tokio::time::timeout_at(end, look()).await {
                Ok(Ok(Look::There(found))) => return Ok(found),
                Ok(Ok(Look::Missing(why))) => (missing, reason) = (why, String::new()),
                Ok(Ok(Look::Incomplete(why, of))) => (missing, deployment) = (why, Some(of)),
                Ok(Err(error)) if error.is_final() => return Err(error.into()),
                Ok(Err(error)) => (missing, reason) = (error.to_string(), String::new()),
                Err(_) => {
                    let silence = format!("no answer for {} s", asked.elapsed().as_secs());
                    let before = if missing.is_empty() { "" } else { ", " };
                    missing = [&missing, &*reason, before, &silence].concat();
                    reason.clear();
                }
            }
            let over = Instant::now() >= self.deadline;
            if over || told.elapsed() >= TELL {
                if let Some(deployment) = deployment
                    && let Ok(Some(told)) =
                        tokio::time::timeout(LEAST, self.pods_reason(&deployment)).await
                {
                    reason = told;
                }
                let missing = [&*missing, &*reason].concat();
                if over {
                    return Err(self
                        .over(what, &missing)
                        .hint(hint)
                        .hint("run apply again once that is mended: it goes on where it stopped"));
                }
                told = Instant::now();
                (self.tell)(missing);
            }
            let next = Instant::now() + interval(started.elapsed());
            tokio::time::sleep_until(next.min(self.deadline)).await;
        }
    }

    fn over(&self, what: &str, missing: &str) -> Failure {
        let (context, limit) = (self.cluster.context(), self.limit.as_secs());
        Failure::new(format!("`{context}`: {what} did not get ready within {limit} s: {missing}"))
    }

    /// Waits until a Deployment has rolled out its latest generation.
    pub(super) async fn deployment(&self, key: &Key) -> Result<(), Failure> {
        let id = ResourceId::namespaced("apps/v1", "Deployment", &key.namespace, &key.name);
        let at = self.cluster.same_cluster();
        let hint = format!(
            "look at its pods: `kubectl{at} -n {0} get pods`, and at `kubectl{at} -n {0} describe deployment {1}`",
            key.namespace, key.name,
        );
        let look = async || {
            let Some(deployment) = self.cluster.get(&id).await? else {
                return Ok(Look::Missing(format!("there is no {key}")));
            };
            Ok(match rollout_missing(&deployment) {
                Some(missing) => Look::Incomplete(format!("{}: {missing}", key.name), deployment),
                None => Look::There(()),
            })
        };
        self.until(&key.to_string(), &hint, look).await
    }

    /// Why the pods of a Deployment do not run, for the message only; `None` where they cannot be
    /// asked.
    async fn pods_reason(&self, deployment: &Value) -> Option<String> {
        let selector = deployment.pointer("/spec/selector/matchLabels").and_then(Value::as_object);
        let selector: Vec<String> = selector
            .into_iter()
            .flatten()
            .filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?)))
            .collect();
        let namespace = deployment["metadata"]["namespace"].as_str();
        let pods =
            self.cluster.list("v1", "Pod", namespace, Some(&selector.join(","))).await.ok()?;
        let reason = pods.iter().find_map(pod_reason);
        Some(reason.map_or_else(String::new, |reason| format!(" ({reason})")))
    }

    /// Waits until istiod's webhook injects: a dry run of a pod that asks for it comes back with
    /// a proxy.
    pub(super) async fn injection(&self, namespace: &str, revision: &str) -> Result<(), Failure> {
        let pod = probe_pod(namespace, revision);
        let look = async || match self.cluster.create(&pod, true).await {
            Ok(answer) if is_injected(&answer) => Ok(Look::There(())),
            Ok(_) => Ok(Look::Missing("the injection webhook does not answer yet".into())),
            Err(error) if error.is_unreachable() => Err(error),
            Err(error) => Ok(Look::Missing(error.to_string())),
        };
        let hint = format!(
            "look at istiod: `kubectl{} -n {namespace} logs -l app=istiod --tail 20`",
            self.cluster.same_cluster()
        );
        self.until("the injection webhook", &hint, look).await
    }

    /// Waits until a Service of type LoadBalancer has an address: an IP or a hostname.
    pub(super) async fn address(&self, namespace: &str, name: &str) -> Result<String, Failure> {
        let id = ResourceId::namespaced("v1", "Service", namespace, name);
        let look = async || {
            let service = self.cluster.get(&id).await?;
            Ok(match service.as_ref().and_then(service_address) {
                Some(address) => Look::There(address),
                None => Look::Missing(format!("Service {namespace}/{name} has no address yet")),
            })
        };
        let hint = format!(
            "does this cluster have a load balancer? `kubectl{} -n {namespace} describe service {name}`",
            self.cluster.same_cluster()
        );
        self.until(&format!("the address of Service {namespace}/{name}"), &hint, look).await
    }
}

/// What a Deployment's rollout lacks; nothing when it is complete. Unlike the condition
/// `Available`, this looks at the latest generation.
pub(super) fn rollout_missing(deployment: &Value) -> Option<String> {
    let number = |path: &str| deployment.pointer(path).and_then(Value::as_i64);
    let wanted = number("/spec/replicas").unwrap_or(1);
    let (updated, available) =
        (number("/status/updatedReplicas"), number("/status/availableReplicas"));
    let (updated, available) = (updated.unwrap_or(0), available.unwrap_or(0));
    if number("/status/observedGeneration") < number("/metadata/generation") {
        return Some("its latest version is not rolled out yet".into());
    }
    if updated < wanted {
        return Some(format!("{updated} of {wanted} updated"));
    }
    if available < wanted {
        return Some(format!("{available} of {wanted} ready"));
    }
    // Those of the generation before may be the only ones that are ready.
    let old = number("/status/replicas").unwrap_or(updated) - updated;
    (old > 0).then(|| format!("{old} of the version before still run"))
}

/// Why a pod does not run.
pub(super) fn pod_reason(pod: &Value) -> Option<String> {
    let name = pod["metadata"]["name"].as_str()?;
    let statuses = ["/status/initContainerStatuses", "/status/containerStatuses"];
    let waiting = statuses.iter().find_map(|path| {
        let containers = pod.pointer(path)?.as_array()?;
        containers.iter().find_map(|c| {
            let reason = c.pointer("/state/waiting/reason")?.as_str()?;
            (reason != "ContainerCreating" && reason != "PodInitializing")
                .then(|| format!("container {}: {reason}", c["name"].as_str().unwrap_or("?")))
        })
    });
    let unschedulable = || {
        let conditions = pod.pointer("/status/conditions")?.as_array()?;
        let condition = conditions.iter().find(|c| c["reason"] == "Unschedulable")?;
        Some(format!("unschedulable: {}", condition["message"].as_str()?))
    };
    waiting.or_else(unschedulable).map(|reason| format!("pod {name}, {reason}"))
}

/// The first address of a Service's load balancer, an IP or a hostname.
pub(super) fn service_address(service: &Value) -> Option<String> {
    let ingress = service.pointer("/status/loadBalancer/ingress")?.as_array()?;
    ingress.iter().find_map(|entry| {
        let text = |key: &str| entry[key].as_str().filter(|t| !t.is_empty()).map(str::to_owned);
        text("ip").or_else(|| text("hostname"))
    })
}

/// A pod as gateways are made of: it asks for injection with the gateway template.
fn probe_pod(namespace: &str, revision: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "kubectl-multimesh-injection-probe",
            "namespace": namespace,
            "labels": { "sidecar.istio.io/inject": "true", "istio.io/rev": revision },
            "annotations": { "inject.istio.io/templates": "gateway" },
        },
        "spec": { "containers": [{ "name": "istio-proxy", "image": "auto" }] },
    })
}

fn is_injected(pod: &Value) -> bool {
    let containers = pod.pointer("/spec/containers").and_then(Value::as_array);
    let images = containers.into_iter().flatten().filter_map(|c| c["image"].as_str());
    let mut images = images.peekable();
    images.peek().is_some() && images.all(|image| image != "auto")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_get_rarer() {
        let after = |seconds| interval(Duration::from_secs(seconds));
        assert_eq!(after(0), SHORTEST);
        assert_eq!(after(10), Duration::from_millis(500));
        assert_eq!(after(600), LONGEST);
    }

    #[test]
    fn an_old_rollout_is_not_taken_for_the_new_one() {
        let deployment = |generation: i64| {
            json!({ "metadata": { "generation": generation }, "spec": { "replicas": 2 },
                "status": { "observedGeneration": 1, "updatedReplicas": 2, "availableReplicas": 2 } })
        };
        assert_eq!(rollout_missing(&deployment(1)), None);
        assert!(rollout_missing(&deployment(2)).is_some());
        let mut stuck = deployment(1);
        stuck["status"]["replicas"] = json!(3);
        assert!(rollout_missing(&stuck).is_some(), "the new pod does not start");
        assert!(rollout_missing(&json!({ "spec": {} })).is_some());
    }

    #[test]
    fn an_address_is_an_ip_or_a_hostname() {
        let with = |ingress: Value| json!({ "status": { "loadBalancer": { "ingress": ingress } } });
        assert_eq!(service_address(&with(json!([]))), None);
        assert_eq!(service_address(&with(json!([{ "ip": "1.2.3.4" }]))).unwrap(), "1.2.3.4");
        assert_eq!(service_address(&with(json!([{ "hostname": "a.b" }]))).unwrap(), "a.b");
        assert_eq!(service_address(&json!({ "spec": {} })), None);
    }

    #[test]
    fn the_reason_of_a_pod_is_told() {
        let pod = json!({ "metadata": { "name": "p" }, "status": { "containerStatuses": [
            { "name": "discovery", "state": { "waiting": { "reason": "ImagePullBackOff" } } },
        ] } });
        assert_eq!(pod_reason(&pod).unwrap(), "pod p, container discovery: ImagePullBackOff");
    }

    #[test]
    fn only_a_proxy_image_is_injection() {
        let with = |image: &str| json!({ "spec": { "containers": [{ "image": image }] } });
        assert!(is_injected(&with("localhost/istio/proxyv2:1.31.0")));
        assert!(!is_injected(&with("auto")));
    }
}

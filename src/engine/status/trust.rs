//! Whether the clusters can trust each other.

use jiff::Timestamp;

use super::look::Look;
use super::model::{Check, Finding, Level, Root, Trust, TrustState};
use crate::engine::local::{Local, Site};
use crate::engine::trust::parse;
use crate::error::Failure;
use crate::kube::{quote, without};
use crate::pki::{self, Cacerts, Certificate, Store, renewal_due};

/// How many days before its end a root is told of: replacing it takes planning.
const ROOT_WARNING: i64 = 180;

/// The root that clusters are compared with.
pub(super) struct Anchor {
    /// Its certificate, if there is any at all.
    pub certificate: Option<Certificate>,
    /// Whether it is the one in the mesh directory.
    local: bool,
    /// Whether intermediates can be signed here.
    has_key: bool,
    /// Why the one in the mesh directory cannot be read.
    failure: Option<Failure>,
}

impl Anchor {
    /// The root in the mesh directory; without one, the first that a cluster has.
    pub(super) fn find<'a>(local: &Local, looks: impl IntoIterator<Item = &'a Look>) -> Self {
        let (root, failure) = match Store::open(local.home.certs()).root() {
            Ok(root) => (root, None),
            Err(error) => (None, Some(error.into())),
        };
        if let Some(root) = root {
            let has_key = root.key.is_some();
            return Self { certificate: Some(root.certificate), local: true, has_key, failure };
        }
        let mut roots = looks.into_iter().filter_map(|look| {
            let cacerts = parse(look.cacerts.as_ref()?.as_ref()?).ok()?;
            cacerts.roots().ok()?.into_iter().next()
        });
        Self { certificate: roots.next(), local: false, has_key: false, failure }
    }

    /// The root as data.
    pub(super) fn root(&self, now: Timestamp) -> Option<Root> {
        let certificate = self.certificate.as_ref()?;
        Some(Root {
            subject: certificate.subject.clone(),
            fingerprint: certificate.fingerprint.clone(),
            not_after: certificate.not_after,
            days_left: days(certificate.not_after, now),
            local: self.local,
        })
    }

    /// What is to be said of the root itself.
    pub(super) fn findings(&self, local: &Local, now: Timestamp) -> Vec<Finding> {
        let mut findings = Vec::new();
        let certs = local.home.certs();
        let path = certs.display();
        if let Some(failure) = &self.failure {
            let text = format!(
                "the mesh's root CA cannot be read, so the clusters are compared with each other only: {}",
                failure.message
            );
            let mut finding = Finding::new(Level::Warning, Check::Root, None, text);
            finding.hints.clone_from(&failure.hints);
            findings.push(finding);
        } else if !self.local {
            let text = format!(
                "there is no root CA in {path}, so the clusters are compared with each other only"
            );
            let finding = Finding::new(Level::Note, Check::Root, None, text);
            findings.push(finding.hint(format!("copy the mesh's root-cert.pem to {path}")));
        }
        let Some(root) = self.root(now) else { return findings };
        if root.days_left < ROOT_WARNING {
            let (level, text) = if root.not_after < now {
                (Level::Problem, format!("the mesh's root CA `{}` has expired", root.subject))
            } else {
                let (subject, left) = (&root.subject, root.days_left);
                (Level::Warning, format!("the mesh's root CA `{subject}` ends in {left} days"))
            };
            let hint = format!(
                "look at it: `openssl x509 -noout -subject -enddate -in {}`",
                quote(&certs.join("root-cert.pem").to_string_lossy())
            );
            findings.push(Finding::new(level, Check::Root, None, text).hint(hint));
        }
        findings
    }
}

/// Whole days until then.
pub(in crate::engine) fn days(end: Timestamp, now: Timestamp) -> i64 {
    (end.as_second() - now.as_second()).div_euclid(86_400)
}

/// A cluster of which nothing is known.
pub(super) fn unknown() -> Trust {
    Trust { state: TrustState::Unknown, root: None, not_after: None, days_left: None }
}

/// The certificate authority of a cluster, and what is to be said of it.
pub(super) fn trust(
    local: &Local,
    site: &Site,
    look: &Look,
    anchor: &Anchor,
    now: Timestamp,
) -> (Trust, Option<Finding>) {
    let context = site.context();
    let problem = |text: String| {
        Finding::new(Level::Problem, Check::Trust, Some(context), format!("`{context}`: {text}"))
    };
    let at = format!("{} -n {}", site.same_cluster(), site.namespace());
    let inspect = format!("look at it: `kubectl{at} describe secret cacerts`");
    let Some(secret) = &look.cacerts else { return (unknown(), None) };
    let Some(secret) = secret else {
        let trust = Trust { state: TrustState::NoCacerts, ..unknown() };
        let text = "there is no Secret `cacerts`: without it istiod signs, at the latest after its \
                    next start, with a root that no other cluster trusts";
        return (trust, Some(problem(text.into()).hint(local.mend())));
    };
    let not_usable = |why: &pki::Error| {
        let trust = Trust { state: TrustState::NotUsable, ..unknown() };
        let finding = problem(format!("the Secret `cacerts` cannot be used: {why}"));
        (trust, Some(finding.hint(inspect.clone())))
    };
    let (cacerts, ca, roots) = match read(secret) {
        Ok(all) => all,
        Err(why) => return not_usable(&why),
    };
    let trust = |state| Trust {
        state,
        root: roots.first().map(|root| root.fingerprint.clone()),
        not_after: Some(ca.not_after),
        days_left: Some(days(ca.not_after, now)),
    };
    let verified = match &anchor.certificate {
        Some(root) => cacerts.verify(root, now),
        None => cacerts.verify_alone(now),
    };
    match verified {
        Ok(()) => {}
        Err(pki::Error::ForeignRoot { subject, fingerprint, expected_fingerprint, .. }) => {
            let short = |print: &str| print.chars().take(16).collect::<String>();
            let text = format!(
                "its `cacerts` has another root than the mesh's, so the other clusters refuse its \
                 traffic: `{subject}`, SHA-256 {} in place of {}",
                short(&fingerprint),
                short(&expected_fingerprint)
            );
            let finding = problem(text).hint(format!(
                "leave it out until it has an intermediate of the mesh's root: `{}`",
                without(context)
            ));
            return (trust(TrustState::OtherRoot), Some(finding.hint(inspect)));
        }
        Err(pki::Error::Expired { subject, not_after }) => {
            let text = format!("the CA certificate `{subject}` expired at {not_after}");
            return (trust(TrustState::Expired), Some(problem(text).hint(local.mend())));
        }
        Err(why) => {
            let (_, finding) = not_usable(&why);
            return (trust(TrustState::NotUsable), finding);
        }
    }
    // istiod hands out all roots, but its metric tells the end of the first one only.
    let ends = |end: i64| roots.iter().any(|root| root.not_after.as_second() == end);
    let mut replicas = look.replicas.iter();
    if let Some(replica) = replicas.find(|r| r.metrics.root_ends.is_some_and(|end| !ends(end))) {
        let finding = problem(format!(
            "istiod in Pod {} does not use the Secret `cacerts`: it signs with another root",
            replica.pod
        ))
        .hint(format!("restart it: `kubectl{at} rollout restart deployment/istiod`"));
        return (trust(TrustState::NotLoaded), Some(finding));
    }
    let warning = |text: String| {
        Finding::new(Level::Warning, Check::Trust, Some(context), format!("`{context}`: {text}"))
    };
    let mut replicas = look.replicas.iter();
    let behind = |end: i64| end != ca.not_after.as_second();
    let finding = if let Some(replica) = replicas.find(|r| r.metrics.ca_ends.is_some_and(behind)) {
        let text = format!(
            "istiod in Pod {} has not taken over the intermediate CA in the Secret `cacerts` yet, \
             which takes up to two minutes",
            replica.pod
        );
        Some(warning(text).hint(format!(
            "if it stays so, see why: `kubectl{at} logs deployment/istiod --tail 50`"
        )))
    } else if renewal_due(&ca, now) {
        let text =
            format!("its intermediate CA ends in {} days: renew it", days(ca.not_after, now));
        Some(warning(text).hint(if anchor.has_key {
            local.mend()
        } else {
            format!(
                "put the mesh's root-key.pem beside root-cert.pem, and run `kubectl multimesh apply{}`",
                local.same_run
            )
        }))
    } else {
        None
    };
    (trust(TrustState::Ok), finding)
}

fn read(
    secret: &serde_json::Value,
) -> Result<(Cacerts, Certificate, Vec<Certificate>), pki::Error> {
    let cacerts = parse(secret)?;
    let (ca, roots) = (cacerts.certificate()?, cacerts.roots()?);
    Ok((cacerts, ca, roots))
}

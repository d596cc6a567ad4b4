//! An outline in figures.

use serde::Serialize;

use super::outline::{CertificateChange, Changes, ClusterOutline, Outline, Standing, Verb};
use super::removal::Removal;

/// What an apply would do, in figures.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tally {
    /// The clusters.
    pub clusters: Clusters,
    /// The objects of members, but for links.
    pub objects: Objects,
    /// The remote secrets.
    pub links: Links,
    /// The intermediate CAs.
    pub certificates: Certificates,
    /// The objects that the control planes of leavers consist of, which are deleted.
    pub deletes: usize,
    /// The changes that the API server would refuse.
    pub refused: usize,
}

/// How many clusters there are of which kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Clusters {
    /// Members and leavers, and those of which nothing is known.
    pub total: usize,
    /// Members in which something changes.
    pub change: usize,
    /// Those that leave, as far as there is something left to do for it.
    pub leave: usize,
    /// Those of which nothing is known.
    pub unknown: usize,
}

/// How many objects change in which way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Objects {
    /// [`Verb::Create`].
    pub create: usize,
    /// [`Verb::Update`].
    pub update: usize,
    /// [`Verb::Adopt`], links among them.
    pub adopt: usize,
    /// [`Verb::Prune`].
    pub prune: usize,
}

/// How many remote secrets change in which way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Links {
    /// Those that are not there.
    pub add: usize,
    /// Those that lead elsewhere, or with another token.
    pub update: usize,
    /// Those that go.
    pub drop: usize,
}

/// How many intermediate CAs change in which way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Certificates {
    /// [`CertificateChange::Issue`].
    pub issue: usize,
    /// [`CertificateChange::Renew`].
    pub renew: usize,
    /// [`CertificateChange::Store`].
    pub store: usize,
}

impl Tally {
    /// The figures of a mesh.
    pub fn of(outline: &Outline) -> Self {
        let mut tally = Self::default();
        for cluster in &outline.clusters {
            tally.add(cluster);
        }
        tally
    }

    /// The figures of a cluster.
    pub fn of_cluster(cluster: &ClusterOutline) -> Self {
        let mut tally = Self::default();
        tally.add(cluster);
        tally
    }

    fn add(&mut self, cluster: &ClusterOutline) {
        let something = usize::from(!cluster.is_nothing());
        self.clusters.total += 1;
        match &cluster.standing {
            Standing::Member(changes) => {
                self.clusters.change += something;
                self.add_changes(changes);
            }
            Standing::Leaver(leaving) => {
                self.clusters.leave += something;
                self.links.drop += leaving.links.len();
                self.deletes += leaving.removal.as_ref().map_or(0, Removal::count);
            }
            Standing::Unknown { .. } => self.clusters.unknown += 1,
        }
    }

    fn add_changes(&mut self, changes: &Changes) {
        match changes.certificate {
            Some(CertificateChange::Issue) => self.certificates.issue += 1,
            Some(CertificateChange::Renew) => self.certificates.renew += 1,
            Some(CertificateChange::Store) => self.certificates.store += 1,
            None => {}
        }
        for object in &changes.objects {
            let count = match (object.verb, object.link.is_some()) {
                (Verb::Create, false) => &mut self.objects.create,
                (Verb::Update, false) => &mut self.objects.update,
                (Verb::Prune, false) => &mut self.objects.prune,
                (Verb::Adopt, _) => &mut self.objects.adopt,
                (Verb::Create, true) => &mut self.links.add,
                (Verb::Update, true) => &mut self.links.update,
                (Verb::Prune, true) => &mut self.links.drop,
            };
            *count += 1;
            self.refused += usize::from(object.refusal.is_some());
        }
    }
}

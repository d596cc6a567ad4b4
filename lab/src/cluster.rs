//! A cluster of a lab, and the faults that can be done to it.

use std::path::PathBuf;

use rustix::process::Signal;

use crate::controlplane;
use crate::error::{Error, Result};
use crate::kubeconfig::{self, User};
use crate::lab::Lab;
use crate::pki::EXPIRED;
use crate::process::{self, Process};
use crate::state::Member;

/// A cluster of a lab.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// The context in the kubeconfig of the lab.
    pub context: String,
    /// The network that its pods are on.
    pub network: String,
    /// The address of the API server, which the other clusters reach too.
    pub server: String,
    /// The number of the cluster in the lab, from 1.
    pub number: u8,
    /// Whether it can run pods.
    pub has_node: bool,
    member: Member,
    lab: Lab,
}

impl Cluster {
    pub(crate) fn new(lab: Lab, member: Member) -> Self {
        Self {
            context: member.context.clone(),
            network: member.network.clone(),
            server: member.server(),
            number: member.number,
            has_node: member.node,
            member,
            lab,
        }
    }

    pub(crate) fn member(&self) -> &Member {
        &self.member
    }

    /// A kubeconfig file with the context of this cluster only.
    pub fn kubeconfig(&self) -> PathBuf {
        kubeconfig::path(self.lab.run(), &self.member, User::Admin)
    }

    /// The files of an administrator's certificate that ended a day ago, and of its key.
    pub fn expired_credential(&self) -> [PathBuf; 2] {
        let folder = self.lab.run().cluster(self.number).join("pki");
        ["crt", "key"].map(|kind| folder.join(format!("{EXPIRED}.{kind}")))
    }

    /// The address at which the load balancer of the cluster gives an ip.
    pub fn node_address(&self) -> String {
        self.member.node_address().to_string()
    }

    /// Ends the API server at once, as a crash would: connections to it are refused.
    pub fn kill_api_server(&self) -> Result<()> {
        self.api_server()?.kill()
    }

    /// Stops the API server: it accepts connections and never answers.
    pub fn pause_api_server(&self) -> Result<()> {
        self.api_server()?.signal(Signal::STOP)
    }

    /// Lets a paused API server run again.
    pub fn resume_api_server(&self) -> Result<()> {
        self.api_server()?.signal(Signal::CONT)
    }

    /// Starts the API server anew, whether it runs or not, and waits until it answers.
    pub fn restart_api_server(&self) -> Result<()> {
        if let Ok(server) = self.api_server() {
            server.kill()?;
        }
        // And the controllers, if they gave up in the meantime.
        controlplane::start(&self.lab.site()?, &self.member)
    }

    fn api_server(&self) -> Result<Process> {
        let name = self.member.process("apiserver");
        process::recorded(self.lab.run(), &name).ok_or_else(|| {
            Error::Refused(format!("the API server of {} does not run", self.context))
        })
    }
}

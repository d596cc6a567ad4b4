//! The floor: a client that does nothing but send requests that were prepared beforehand. It runs
//! as a process of its own in the network of the lab, as the tool does, and shares no code with it.

mod client;
mod cold;
mod script;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use self::client::Server;
pub(crate) use self::script::{Call, Member, Script, Target};
use crate::say::fail;

/// Send prepared requests, as the floor of a measurement
#[derive(Args)]
pub(crate) struct Floor {
    /// The file with the requests
    script: PathBuf,
}

pub(crate) fn run(floor: &Floor) -> ExitCode {
    match attempt(floor) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn attempt(floor: &Floor) -> Result<(), String> {
    let text = fs::read(&floor.script).map_err(|e| e.to_string())?;
    let script: Script = serde_json::from_slice(&text).map_err(|e| e.to_string())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| e.to_string())?;
    runtime.block_on(async {
        match script {
            Script::Requests { targets, phases } => requests(&targets, phases).await,
            Script::Cold { members, waits } => cold::run(members, waits).await,
        }
    })
}

async fn requests(targets: &[Target], phases: Vec<Vec<Call>>) -> Result<(), String> {
    let servers = targets.iter().map(|target| Server::new(target).map(std::sync::Arc::new));
    let servers: Vec<_> = servers.collect::<Result<_, _>>()?;
    for phase in phases {
        let mut tasks = tokio::task::JoinSet::new();
        for call in phase {
            let Some(server) = servers.get(call.target).cloned() else { continue };
            tasks.spawn(async move {
                let answer = server.send(&call).await?;
                // What is not there is an answer too.
                match answer.status {
                    ..300 | 404 => Ok(()),
                    status => Err(format!("{}: {status}", call.path)),
                }
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.map_err(|e| e.to_string())??;
        }
    }
    Ok(())
}

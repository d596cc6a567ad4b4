//! Ends what runs on Ctrl-C, SIGTERM or the end of the terminal, so that everything is taken down in
//! order.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::signal::unix::{SignalKind, signal};

use crate::say::say;

/// Set by the first signal: what runs is ended, and nothing new begins.
pub(crate) static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// The process group that [`spawn`] started last.
static GROUP: Mutex<Option<Pid>> = Mutex::new(None);

/// Whether the user wants no more.
pub(crate) fn happened() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// Starts to listen.
pub(crate) fn listen() -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| e.to_string())?;
    let guard = runtime.enter();
    let of = |kind| signal(kind).map_err(|e| e.to_string());
    let (mut interrupt, mut terminate, mut hangup) =
        (of(SignalKind::interrupt())?, of(SignalKind::terminate())?, of(SignalKind::hangup())?);
    drop(guard);
    thread::spawn(move || {
        runtime.block_on(async {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                    _ = hangup.recv() => {}
                }
                say("ending; taking the lab down");
                INTERRUPTED.store(true, Ordering::Relaxed);
                end();
            }
        });
    });
    Ok(())
}

/// Starts a command in a process group of its own, which ends with the first signal.
pub(crate) fn spawn(command: &mut Command) -> io::Result<Child> {
    let child = command.process_group(0).spawn()?;
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    *GROUP.lock().unwrap_or_else(PoisonError::into_inner) = group;
    if happened() {
        end();
    }
    Ok(child)
}

/// Waits for a command that [`spawn`] started.
pub(crate) fn wait(mut child: Child) -> io::Result<std::process::ExitStatus> {
    let status = child.wait();
    // Its number may be another one's from now on.
    *GROUP.lock().unwrap_or_else(PoisonError::into_inner) = None;
    status
}

fn end() {
    if let Some(group) = *GROUP.lock().unwrap_or_else(PoisonError::into_inner) {
        // One that is gone needs no end.
        let _ = kill_process_group(group, Signal::TERM);
    }
}

//! How many SVIDs a second, and what one costs the daemon. X.509-SVIDs have a key of their own each; every JWT-SVID is
//! signed anew.

use std::env;

use anyhow::{Result, bail};

use crate::{
    Plan,
    daemon::Daemon,
    goals::{Goal, spire},
    order::{Answer, Ask, Loader, Order},
    process,
    table::{Runs, Table, short},
};

const CONNECTIONS: usize = 8;

pub(crate) fn run(plan: &Plan, table: &mut Table) -> Result<()> {
    let daemon = Daemon::with_entry(&[])?;
    let mut loader = Loader::start(&env::current_exe()?, &daemon.socket())?;
    let portable = 3.2 * plan.units().sign;
    for callers in [8, 64] {
        let (rate, cpu) = rates(&mut loader, daemon.pid(), (Ask::Svids, callers), plan)?;
        let figure = format!("SVIDs per second, {callers} callers on {CONNECTIONS} connections");
        table.runs(&format!("rate_{callers}"), &figure, "per s", &rate, Goal::default(), spire::RATE);
        // 20,000 a second and core are 50 µs each.
        let goal = Goal::at_most(50.0).or_portable(portable);
        table.runs(&format!("cpu_{callers}_us"), "… CPU of the daemon each", "µs", &cpu, goal, spire::CPU);
        table.note(format!("{callers} callers: {} SVIDs a second and core of the daemon", short(1e6 / cpu.median())));
    }
    tokens(&mut loader, daemon.pid(), plan, table)?;
    let Some(mut loader) = plan.spire()? else { return Ok(()) };
    let Some(socket) = &plan.spire else { return Ok(()) };
    let (rate, cpu) = rates(&mut loader, process::listener(socket)?, (Ask::Svids, 8), plan)?;
    table.runs("spire_rate_8", "  SPIRE beside it, 8 callers", "per s", &rate, Goal::default(), "");
    table.runs("spire_cpu_8_us", "  SPIRE beside it, CPU each", "µs", &cpu, Goal::default(), "");
    Ok(())
}

/// 28,000 JWT-SVIDs and 11,000 judgements a second and core are 35.7 and 90.9 µs each.
fn tokens(loader: &mut Loader, pid: i32, plan: &Plan, table: &mut Table) -> Result<()> {
    for (ask, name, figure, most, rates_there, cpu_there) in [
        (Ask::Jwt, "jwt", "JWT-SVIDs per second, one audience", 35.7, spire::JWT_RATE, spire::JWT),
        (Ask::JwtAnew, "jwt_anew", "… a new audience each time", 35.7, spire::JWT_ANEW_RATE, spire::JWT_ANEW),
        (Ask::Judgement, "judged", "JWT-SVIDs judged per second", 90.9, spire::JUDGED_RATE, spire::JUDGED),
    ] {
        let (rate, cpu) = rates(loader, pid, (ask, 8), plan)?;
        table.runs(&format!("rate_{name}"), figure, "per s", &rate, Goal::default(), rates_there);
        let goal = Goal::at_most(most);
        table.runs(&format!("cpu_{name}_us"), "… CPU of the daemon each", "µs", &cpu, goal, cpu_there);
    }
    Ok(())
}

fn rates(loader: &mut Loader, pid: i32, (ask, callers): (Ask, usize), plan: &Plan) -> Result<(Runs, Runs)> {
    let (mut rate, mut each) = (Runs::default(), Runs::default());
    let order = Order::Callers { ask, callers, connections: CONNECTIONS, millis: plan.pick(2_000, 1_000) };
    for _ in 0..plan.pick(5, 3) {
        let before = process::cpu(pid)?;
        let Answer::Rate { answers, seconds } = loader.ask(order)? else { bail!("{order:?} was answered otherwise") };
        let answers = f64::from(u32::try_from(answers)?);
        rate.push(answers / seconds);
        each.push((process::cpu(pid)? - before).as_secs_f64() * 1e6 / answers);
    }
    Ok((rate, each))
}

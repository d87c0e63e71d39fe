"""The command `assay`: train, eval, rescore, check, audit, doctor, export."""

from __future__ import annotations

import argparse
import dataclasses
import errno
import io
import math
import pathlib
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # The command says what it can before JAX is loaded.
    from policy import TransformerConfig


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Returns:
      The exit code: 0; 1 where the run or the check failed; 2 for a mistake in what was asked; 130 where a signal
      (Ctrl-C, SIGTERM) stopped it.
    """
    parser = _parser()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # A terminal that knows no "×" must not end a run.
            stream.reconfigure(errors="backslashreplace")
    options, rest = parser.parse_known_args(arguments)
    if rest and (options.command is not _train or any(text.startswith("-") for text in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:  # Overrides may stand behind options.
        options.overrides += rest
    try:
        return options.command(options)
    except (ValueError, FileNotFoundError, FileExistsError, NotADirectoryError, PermissionError) as error:
        return _fail(2, error, options.debug)
    except (OSError, RuntimeError, ArithmeticError, ImportError, MemoryError) as error:
        return _fail(1, error, options.debug)
    except KeyboardInterrupt as stopped:  # Its message says how to go on, where there is something to go on with.
        print(stopped.args[0] if stopped.args else "Stopped.", file=sys.stderr)
        return 130


def _fail(code: int, error: BaseException, debug: bool) -> int:
    if debug:
        traceback.print_exception(error)
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    hint = ". Make room there, then start again or go on from the last checkpoint: assay train --resume RUN"
    print(f"assay: {str(error) or type(error).__name__}{hint * full}", file=sys.stderr)
    return code


# A command loads what it needs when it is run: `assay --help` does not wait for JAX.


def _train(options: argparse.Namespace) -> int:
    from rl.configfile import Mistake, load_config, load_run_config, parse_overrides
    from rl.console import Console
    from rl.run import Run

    if options.resume:
        given = [text for text in (options.file, *options.overrides) if text is not None]
        if options.run or any("=" not in text for text in given):
            raise Mistake("--resume goes on in the run's own directory with the config that it keeps: name neither.")
        config, overrides = load_run_config(Run(options.resume), parse_overrides(given))
    elif options.file:
        overrides = parse_overrides(options.overrides)
        config = load_config(options.file, overrides)
    else:
        raise Mistake("Name a config file, `assay train FILE`, or a run to go on with, `assay train --resume RUN`.")
    from rl.loop import train

    source = None if options.resume else options.file
    train(config, path=options.run, resume=options.resume, source=source, overrides=overrides, console=Console())
    return 0


def _eval(options: argparse.Namespace) -> int:
    from rl.checkpoint import latest, read_params
    from rl.configfile import Mistake, load_config, load_run_config
    from rl.console import evaluation_text
    from rl.evaluate import evaluate
    from rl.preflight import fit
    from rl.run import Run, is_run

    if is_run(options.target):
        run = Run(options.target)
        config = load_config(options.config) if options.config else load_run_config(run)[0]
        checkpoint = latest(run.path)
        if checkpoint is None:
            raise Mistake(f"{run.path} has no checkpoint yet: there is no policy to measure.")
        model, params = config.model, read_params(checkpoint.path, config.model.config)
    elif options.config:
        from policy import pretrained

        config, model, params = load_config(options.config), pretrained(options.target), None
    else:
        raise Mistake(
            f"{options.target} is not a run. To measure a model, name the config file that holds out the problems: "
            f"assay eval {options.target} --config FILE"
        )
    config = dataclasses.replace(config, model=model, max_tokens=options.max_tokens or config.max_tokens)
    if config.drop_long:  # As the run did.
        config = fit(config)[0]
    problems = config.held_out[: options.limit]
    if not problems:
        raise Mistake("The config holds out no problems: set RunConfig.held_out.")
    samples = options.samples or config.eval_samples
    temperature = options.temperature
    if temperature is None:  # Several greedy answers would be one.
        temperature = config.eval_temperature or (1.0 if samples > 1 else 0.0)
    evaluation = evaluate(
        model,
        problems,
        config.verifiers,
        graders=config.graders,
        params=params,
        samples=samples,
        temperature=temperature,
        max_tokens=config.max_tokens,
        environment=config.environment,
        max_turns=config.max_turns,
        reply_seconds=config.reply_seconds,
        slots=config.slots,
        seed=config.seed,
        dtype=config.dtype,
    )
    print(evaluation_text(evaluation, temperature))
    return int(evaluation.interval.n == 0)  # Where nothing was judged.


def _rescore(options: argparse.Namespace) -> int:
    from rl.configfile import Mistake, load_config, load_run_config
    from rl.console import rescored_text
    from rl.evaluate import rescore
    from rl.records import numbered
    from rl.run import Run

    run = Run(options.run)
    config = load_config(options.config) if options.config else load_run_config(run)[0]
    steps = [step for step, _ in numbered(run.path / "evaluations")]
    step = steps[-1] if options.step is None and steps else options.step
    if step not in steps:
        raise Mistake(f"{run.path} keeps no such evaluation; it keeps those after so many updates: {steps}.")
    before = run.read_evaluation(step)
    now = rescore(before, config.held_out, config.verifiers, graders=config.graders)
    print(f"The answers of {run.path} after {step} updates, judged once more:")
    print(rescored_text(before, now))
    return 0


def _check(options: argparse.Namespace) -> int:
    from rl.configfile import Mistake

    if not options.target.endswith(".py"):
        return _check_verifier(options)
    if options.data or options.limit:
        raise Mistake(
            f"--data and --limit are for one verifier: name the verifier, {options.target}:NAME. "
            f"A config has its own problems: assay check {options.target}"
        )
    return _check_config(options.target)


def _check_config(file: str) -> int:
    from rl.configfile import load_config
    from rl.console import Console
    from rl.preflight import preflight

    config = load_config(file)
    findings = preflight(config, Console())
    print(*findings, sep="\n", end="\n" * bool(findings))
    fatal = any(finding.fatal for finding in findings)
    what = f"{len(config.problems)} problems to learn from, {len(config.held_out)} held out"
    print(f"{file}: {what}: {'not fit for a run' if fatal else 'ready'}.")
    return int(fatal)


def _check_verifier(options: argparse.Namespace) -> int:
    import verifiers
    from rl.configfile import Mistake, theirs
    from rl.data import load_problems

    name = options.target
    verifier = theirs(lambda: verifiers.load(name), name.rpartition(":")[0] or name)
    if not options.data:
        raise Mistake(f"Name the problems to try it on: assay check {name} --data FILE")
    problems = load_problems(
        options.data,
        prompt=options.prompt,
        answer=options.answer,
        verifier=name,
        metadata=lambda row: row.get("metadata") or {},
        limit=options.limit,
    )
    report = verifiers.check(verifier, problems)
    print(report)
    result = "keeps its contract" if report.passed else f"breaks its contract {len(report.findings)} times"
    print(f"{name} {result} ({len(problems)} problems).")
    return int(not report.passed)


def _audit(options: argparse.Namespace) -> int:
    import verifiers
    from rl.configfile import theirs
    from rl.data import load_problems
    from verifiers import redteam

    name = options.target
    theirs(lambda: verifiers.load(name), name.rpartition(":")[0] or name)
    problems = redteam.PROBLEMS
    if options.data:
        problems = load_problems(
            options.data,
            prompt="prompt",
            answer="answer",
            verifier=name,
            metadata=lambda row: row.get("metadata") or {},
        )
    attempts = redteam.audit(name, problems, timeout=options.timeout)
    print(redteam.summary(name, attempts))
    return int(any(attempt.succeeds for attempt in attempts if attempt.hack != "solution"))


def _doctor(options: argparse.Namespace) -> int:
    from policy import pretrained
    from rl.configfile import Mistake
    from rl.doctor import diagnose

    if options.mesh and not options.model:
        raise Mistake("--mesh spreads a model: name one.")
    config = pretrained(options.model).config if options.model else None
    facts, wrong = diagnose(options.model, config) if config else diagnose()
    for name, description in facts:
        print(f"{name:<10} {description}")
    if config:
        _print_placement(options.model, config, options.mesh)
    for sentence in wrong:
        print(f"wrong:     {sentence}")
    print("All is well." if not wrong else f"{len(wrong)} found wrong.")
    return int(bool(wrong))


def _print_placement(path: str, config: TransformerConfig, mesh: str | None) -> None:
    import jax

    from policy.sharding import describe, parse_mesh, table
    from policy.transformer import parameter_shapes

    sizes = parse_mesh(mesh) if mesh else {"fsdp": jax.device_count()}
    print(f"\nHow the parameters of {path} rest on devices:")
    for rule, description in describe(sizes, parameter_shapes(config), table(config)):
        print(f"{rule:<34} {description}")


def _export(options: argparse.Namespace) -> int:
    from policy import export
    from rl.checkpoint import latest, open_checkpoint, read_params
    from rl.configfile import Mistake, load_config, load_run_config
    from rl.run import Run

    run = Run(options.run)
    config = load_config(options.config) if options.config else load_run_config(run)[0]
    if options.step is None:
        checkpoint = latest(run.path)
    else:
        folder = run.path / "checkpoints" / f"{options.step:06d}"
        checkpoint = open_checkpoint(folder) if folder.is_dir() else None
    if checkpoint is None:
        there = sorted(int(path.name) for path in run.path.glob("checkpoints/[0-9]*") if path.name.isdecimal())
        raise Mistake(f"{run.path} has no such checkpoint; it has those of the steps {there}.")
    out = export(
        read_params(checkpoint.path, config.model.config), config.model, pathlib.Path(options.out), options.dtype
    )
    print(f"Wrote the policy after {checkpoint.step} updates to {out} ({options.dtype}).")
    return 0


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"must be a whole number, at least 1, got {text!r}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"must be a positive number of seconds, got {text!r}")
    return seconds


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="assay",
        description="RL post-training with verifiable rewards.",
        epilog="`assay COMMAND --help` says more. Exit codes: 1 it failed, 2 a mistake in what was asked, 130 stopped.",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--debug", action="store_true", help="show the traceback of an error")

    def command(name: str, run: Callable[[argparse.Namespace], int], help: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=help, description=f"{help[0].upper()}{help[1:]}.", parents=[shared])
        made.set_defaults(command=run)
        return made

    train = command("train", _train, "train a policy, or go on with a run that stopped")
    train.add_argument("file", nargs="?", metavar="FILE", help="a Python file with a function config() -> rl.RunConfig")
    train.add_argument("overrides", nargs="*", metavar="key=value", help="a field of RunConfig, e.g. steps=50")
    train.add_argument("--run", metavar="DIR", help="the directory of the new run (default: a new one below runs/)")
    train.add_argument("--resume", metavar="RUN", help="the directory of a run, to go on from its last checkpoint")

    evaluate = command("eval", _eval, "measure a run's policy, or a model, on held-out problems")
    evaluate.add_argument("target", metavar="RUN_OR_MODEL", help="a run, a .gguf file or a Hugging Face directory")
    evaluate.add_argument(
        "--config", metavar="FILE", help="the config file that holds out the problems (a run has its own)"
    )
    evaluate.add_argument("--samples", type=_count, metavar="K", help="answers a problem (default: the config's)")
    evaluate.add_argument(
        "--temperature", type=float, metavar="T", help="0 is greedy (default: the config's; 1 if K > 1)"
    )
    evaluate.add_argument("--max-tokens", type=_count, metavar="N", help="the longest answer (default: the config's)")
    evaluate.add_argument("--limit", type=_count, metavar="N", help="take only the first N problems")

    rescore = command(
        "rescore", _rescore, "judge the answers that a run's evaluation kept once more, by the verifiers of now"
    )
    rescore.add_argument("run", metavar="RUN", help="the run's directory; nothing is written there")
    rescore.add_argument("--config", metavar="FILE", help="the config file with the verifiers (default: the run's own)")
    rescore.add_argument(
        "--step", type=int, metavar="N", help="of the evaluation after N updates (default: the newest)"
    )

    check = command("check", _check, "try a verifier, or all that a config names, on answers that are known")
    check.add_argument(
        "target", metavar="CONFIG_OR_VERIFIER", help="FILE.py, or FILE.py:name, package.module:name, name"
    )
    check.add_argument("--data", metavar="FILE", help="a verifier's problems: .jsonl, .json, .csv or .parquet")
    check.add_argument("--prompt", metavar="COLUMN", default="prompt", help="of the prompts (default: prompt)")
    check.add_argument("--answer", metavar="COLUMN", default="answer", help="of the answers (default: answer)")
    check.add_argument("--limit", type=_count, metavar="N", help="take only the first N problems")

    audit = command("audit", _audit, "try known hacks on a verifier, and say which wrong answers it rewards")
    audit.add_argument("target", metavar="VERIFIER", help="name, package.module:name or FILE.py:name")
    audit.add_argument(
        "--data", metavar="FILE", help="with what `redteam.audit` needs in their metadata (default: small ones)"
    )
    audit.add_argument("--timeout", type=_seconds, default=120.0, metavar="S", help="seconds for a hack (default: 120)")

    doctor = command("doctor", _doctor, "say what this machine has for a run, and what is wrong with it")
    text = "say too what an engine takes for it, and how its parameters rest on devices"
    doctor.add_argument("model", nargs="?", metavar="MODEL", help=text)
    doctor.add_argument("--mesh", metavar="AXES", help="e.g. fsdp=2,tensor=4 (default: all devices along fsdp)")

    export = command("export", _export, "write a run's policy as a Hugging Face directory")
    export.add_argument("run", metavar="RUN", help="the run's directory")
    export.add_argument("out", metavar="OUT_DIR", help="the directory to make")
    export.add_argument("--step", type=int, metavar="N", help="of the checkpoint (default: the last)")
    export.add_argument("--config", metavar="FILE", help="with the run's model (default: the config of the run)")
    export.add_argument(
        "--dtype", choices=["bfloat16", "float16", "float32"], default="bfloat16", help="float32 is exact"
    )
    return parser

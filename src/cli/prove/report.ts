import { allCases } from '../../prove/run/cases.ts'
import type { Result } from '../../prove/run/prove.ts'
import { type PromiseName, promiseNames, promises } from '../../prove/run/verdict.ts'
import { type Output, table } from '../output.ts'

/** Tells what was found: one JSON object a line as it comes, or one table at the end. */
export function reporter(
  out: Output,
  json: boolean,
): { readonly one: (result: Result) => void; readonly end: (results: readonly Result[]) => void } {
  let done = 0
  return {
    one(result) {
      done += 1
      if (json) out.json(lineOf(result))
      else out.progress(`${done}: ${result.name} ${result.kind}`)
    },
    end(results) {
      if (json) out.json({ name: 'total', ...countsOf(results) })
      else show(results, out)
    },
  }
}

function lineOf(result: Result): object {
  return { ...result, seconds: Number(result.seconds.toFixed(2)) }
}

function countsOf(results: readonly Result[]): Readonly<Record<Result['kind'], number>> {
  const of = (kind: Result['kind']): number => results.filter((one) => one.kind === kind).length
  return {
    kept: of('kept'),
    broken: of('broken'),
    'not reached': of('not reached'),
    failed: of('failed'),
  }
}

function cell(result: Result, promise: PromiseName): string {
  switch (result.kind) {
    case 'not reached':
      return 'not reached'
    case 'failed':
      return 'failed'
    case 'kept':
    case 'broken':
      if (result.findings.some((finding) => finding.promise === promise)) return 'BROKEN'
      return result.asked.includes(promise) ? 'kept' : '-'
    default:
      return result satisfies never
  }
}

function show(results: readonly Result[], out: Output): void {
  const rank = ({ name }: Result): number => allCases.findIndex((one) => one.name === name)
  const sorted = results.toSorted((one, other) => rank(one) - rank(other))
  const rows = sorted.map((one) => [
    one.name,
    ...promiseNames.map((promise) => cell(one, promise)),
    one.seconds.toFixed(1),
    one.meaning,
  ])
  const head = ['', ...promiseNames, 'seconds', '']
  for (const line of table([head, ...rows], [promiseNames.length + 1])) out.line(line)
  out.line()
  for (const name of promiseNames) out.line(`${name}: ${promises[name]}`)
  problems(sorted, out)
  const counts = countsOf(results)
  out.line()
  out.line(
    `${counts.kept} kept, ${counts.broken} broken, ${counts['not reached']} not reached${counts.failed === 0 ? '' : `, ${counts.failed} failed`}`,
  )
}

/** Each sentence once, with the rows that it comes from. */
function problems(results: readonly Result[], out: Output): void {
  for (const result of results) {
    if (result.kind === 'failed') {
      out.line()
      out.line(`${result.name} failed: ${result.error}`)
    }
    if (result.kind !== 'broken') continue
    for (const { promise, text, remedy } of result.findings) {
      out.line()
      out.line(`${result.name} breaks '${promise}': ${text}`)
      out.line(`  ${remedy}`)
    }
  }
}

/**
 * Verifies the model of the relay protocol: `npm run model [-- NAME ...] [-- --trail]`, default
 * every configuration. Prints a line for each; ends with 1 if one of them came out otherwise than
 * it should. Without Spin or a C compiler it says so and ends with 0, with CI=true with 1.
 */
import { parseArgs } from 'node:util'
import { negative, positive, type Configuration } from '../model/configurations.ts'
import { isExpected, missingPrograms, verify, type Verdict } from '../model/spin.ts'

const say = (text: string): void => void process.stdout.write(`${text}\n`)

function line(cells: readonly string[]): string {
  const widths = [22, 59, 10, 6, 7, 8, 10]
  return cells
    .map((cell, index) =>
      index < 2 ? cell.padEnd(widths[index] ?? 0) : cell.padStart(widths[index] ?? 0),
    )
    .join(' ')
}

function report(configuration: Configuration, verdict: Verdict): void {
  const { states, depth, seconds, memoryMiB, broken, incomplete, trail } = verdict
  const got = incomplete ?? broken ?? 'holds'
  const cells = [
    configuration.name,
    configuration.says,
    states.toLocaleString('en'),
    String(depth),
    seconds.toFixed(1),
    String(memoryMiB),
    got,
  ]
  const surprise = isExpected(configuration, verdict)
    ? ''
    : `   <-- expected: ${configuration.breaks.join(' or ') || 'holds'}`
  say(`${line(cells)}${surprise}`)
  if (trail !== undefined) say(trail)
}

function main(): number {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: { trail: { type: 'boolean', default: false } },
  })
  const missing = missingPrograms()
  if (missing.length > 0) {
    say(
      `*** The model was NOT verified: ${missing.join(' and ')} missing here (apt-get install spin gcc). ***`,
    )
    return process.env['CI'] === 'true' ? 1 : 0
  }
  const all = [...positive, ...negative]
  const unknown = positionals.filter(
    (name) => !all.some((configuration) => configuration.name === name),
  )
  if (unknown.length > 0) {
    say(
      `no configuration is called ${unknown.join(', ')}; there are: ${all.map(({ name }) => name).join(', ')}`,
    )
    return 1
  }
  say(line(['configuration', 'what it is', 'states', 'depth', 'seconds', 'MiB', 'verdict']))
  let surprises = 0
  for (const configuration of all) {
    if (positionals.length > 0 && !positionals.includes(configuration.name)) continue
    const verdict = verify(configuration, { trail: values.trail })
    report(configuration, verdict)
    if (!isExpected(configuration, verdict)) surprises++
  }
  say(
    surprises === 0
      ? 'Every configuration came out as expected.'
      : `${surprises} came out otherwise than expected.`,
  )
  return surprises === 0 ? 0 : 1
}

process.exitCode = main()

#!/usr/bin/env node
import { createOutput, type OutputStream } from './output.ts'
import { runProgram } from './program.ts'

// Node tells of experimental parts (SQLite) on every start; people who run a program cannot do
// anything about it.
process.removeAllListeners('warning')
process.on('warning', (warning) => {
  if (warning.name !== 'ExperimentalWarning') out.note(`${warning.name}: ${warning.message}`)
})
const own = (stream: NodeJS.WriteStream): OutputStream => ({
  write: stream.write.bind(stream) as OutputStream['write'],
  isTTY: stream.isTTY,
  columns: stream.columns,
})
const out = createOutput(own(process.stdout), own(process.stderr), process.env)

// Loggers of transports and whatever the configuration prints take the same way out.
for (const stream of [process.stdout, process.stderr]) {
  const write = stream.write.bind(stream) as (text: string, ...rest: unknown[]) => boolean
  stream.write = (chunk: string | Uint8Array, ...rest: unknown[]) =>
    write(out.foreign(typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString()), ...rest)
}

// A reader such as `head` that has seen enough is no failure.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1))
}
// The report of Node shows the fields of an error, and with them the URL of a failed connection.
for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
  process.on(event, (thrown: unknown) => {
    out.note(
      `mersal: ${thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : 'something that is no error was thrown'}`,
    )
    process.exit(1)
  })
}

const code = await runProgram(process.argv.slice(2), { out, cwd: process.cwd(), env: process.env })
await out.flush()
// Connections that a pool keeps for a while must not hold up the prompt.
process.exit(code)

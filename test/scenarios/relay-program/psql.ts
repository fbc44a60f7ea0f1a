import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { isPresent } from '../../../scripts/servers/present.ts'
import { serverUrl } from '../../postgres/database.ts'

/** False, said loudly, when there is no psql here; with CI=true that is a failure instead. */
export function psqlIsHere(): boolean {
  const folders = (process.env['PATH'] ?? '').split(':')
  const isHere = folders.some((folder) => existsSync(`${folder}/psql`))
  return isPresent(isHere ? undefined : 'NO PSQL in the PATH')
}

/** A psql of its own, fed through its standard input. Disposing kills it. */
export interface Psql extends AsyncDisposable {
  /** Resolves when psql takes more; it runs what it was given in order. */
  write(sql: string): Promise<void>
  /** Waits until everything has been run. Throws what psql complained about. */
  end(): Promise<void>
}

export function startPsql(): Psql {
  const child = spawn('psql', [serverUrl, '-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1'], {
    stdio: ['pipe', 'ignore', 'pipe'],
    env: { ...process.env, PGAPPNAME: 'psql of a test' },
  })
  let complaint = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaint = (complaint + text).slice(-4000)
  })
  // It closes its end when it fails; what it says then is thrown by `end`.
  child.stdin.on('error', () => {})
  const closed = once(child, 'close').then(([code]) => code as number | null)
  return {
    async write(sql) {
      if (child.stdin.write(sql) || !child.stdin.writable) return
      await Promise.race([once(child.stdin, 'drain'), closed])
      if (child.exitCode !== null) throw new Error(`psql ended early: ${complaint}`)
    },
    async end() {
      child.stdin.end()
      const code = await closed
      if (code !== 0) throw new Error(`psql ended with ${code}: ${complaint}`)
    },
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await closed
    },
  }
}

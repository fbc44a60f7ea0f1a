import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { type LifePlan, type Look, type Told } from '../plan.ts'
import { environment } from './environment.ts'

/** One process of the program. */
export interface Life extends AsyncDisposable {
  /** Resolves when every action has been made, or could not be made. Undefined: it has ended. */
  readonly done: Promise<Extract<Told, { kind: 'done' }> | undefined>
  readonly acting: Promise<Extract<Told, { kind: 'acting' }> | undefined>
  /** The first look, of a process that does nothing but look. */
  readonly told: Promise<Look | undefined>
  /** What is there now. Undefined: it has ended. Throws if it cannot be told. */
  look(): Promise<Look | undefined>
  /** How it has ended. */
  readonly ended: Promise<{ readonly signal: string | null; readonly code: number | null }>
  kill(): void
}

type Kind = Told['kind']

/**
 * Starts a process: this program again, with the plan in its environment. What it says of itself in
 * trouble becomes an error.
 */
export function startLife(plan: LifePlan, cwd: string): Life {
  const program = process.argv[1] ?? ''
  const child = spawn(process.execPath, [...process.execArgv, program, 'prove'], {
    cwd,
    env: environment(process.env, plan),
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  })
  const said = lastWords(child)
  const ended = (async () => {
    const [code, signal] = (await once(child, 'close')) as [number | null, string | null]
    return { code, signal }
  })()
  const next = listener(child, ended, said)
  return {
    acting: next('acting'),
    done: next('done'),
    told: next('look'),
    look() {
      const answer = next('look')
      if (child.connected) child.send('look', () => undefined)
      return answer
    },
    ended,
    kill: () => void child.kill('SIGKILL'),
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await ended
    },
  }
}

function lastWords(child: ChildProcess): () => string {
  let text = ''
  child.stderr?.setEncoding('utf8').on('data', (more: string) => {
    text = (text + more).slice(-2000)
  })
  return () => text.trim()
}

type Next = <Wanted extends Kind>(
  kind: Wanted,
) => Promise<Extract<Told, { kind: Wanted }> | undefined>

/** Waits for the next message of a kind. A program that ends by itself is an error. */
function listener(child: ChildProcess, ended: Life['ended'], said: () => string): Next {
  const waiting = new Map<Kind, PromiseWithResolvers<Told | undefined>>()
  const trouble = Promise.withResolvers<never>()
  trouble.promise.catch(() => undefined)
  const of = (kind: Kind): PromiseWithResolvers<Told | undefined> => {
    const known = waiting.get(kind) ?? Promise.withResolvers<Told | undefined>()
    waiting.set(kind, known)
    return known
  }
  child.on('message', (message) => {
    const told = message as Told
    if (told.kind === 'broken') trouble.reject(new Error(told.error))
    of(told.kind).resolve(told)
    waiting.delete(told.kind)
  })
  const over = ended.then(({ code, signal }) => {
    if (signal === 'SIGKILL') return undefined
    throw new Error(`the program ended by itself, with ${signal ?? `code ${code}`}: ${said()}`)
  })
  over.catch(() => undefined)
  return <Wanted extends Kind>(kind: Wanted) => {
    const answer = Promise.race([of(kind).promise, trouble.promise, over])
    // Whoever waits for it hears of it; nobody has to.
    answer.catch(() => undefined)
    return answer as Promise<Extract<Told, { kind: Wanted }> | undefined>
  }
}

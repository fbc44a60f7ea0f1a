/** Runs a program of an example as a process, for its test. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'

export interface Program {
  /** Resolves to the first group of the pattern when the program has printed it; rejects at its end. */
  said(pattern: RegExp): Promise<string>
  /** What it has written to standard error. */
  complaints(): string
  /** Resolves to its exit code, or to the signal that has ended it. */
  end(signal: 'SIGTERM' | 'SIGKILL'): Promise<number | string | null>
}

export function startProgram(
  args: readonly string[],
  { cwd, env }: { readonly cwd: string; readonly env: Readonly<Record<string, string>> },
): Program {
  // What vitest tells its own processes is not meant for programs of users.
  const { NODE_OPTIONS: _, NODE_ENV: __, VITEST: ___, ...rest } = process.env
  const child = spawn(process.execPath, [...args], {
    cwd,
    env: { ...rest, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const ended = once(child, 'close') as Promise<[number | null, string | null]>
  const state = { printed: '', complained: '', over: false }
  let news = Promise.withResolvers<void>()
  const tell = (): void => {
    news.resolve()
    news = Promise.withResolvers()
  }
  child.stdout.on('data', (text: Buffer) => {
    state.printed += text.toString()
    tell()
  })
  child.stderr.on('data', (text: Buffer) => void (state.complained += text.toString()))
  void ended.then(() => {
    state.over = true
    tell()
  })
  return {
    async said(pattern) {
      for (;;) {
        const found = pattern.exec(state.printed)?.[1]
        if (found !== undefined) return found
        if (state.over)
          throw new Error(`it ended without ${pattern}: ${state.printed}${state.complained}`)
        await news.promise
      }
    },
    complaints: () => state.complained,
    async end(signal) {
      if (!state.over) child.kill(signal)
      const [code, by] = await ended
      return by ?? code
    },
  }
}

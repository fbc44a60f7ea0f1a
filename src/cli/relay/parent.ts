import { readFileSync } from 'node:fs'

/** How often it looks, in milliseconds. */
const EVERY_MS = 500

const SHELLS = new Set(['sh', 'dash', 'bash', 'zsh', 'ash', 'busybox'])

interface Process {
  readonly name: string
  readonly parent: number
  readonly session: number
}

/** Of Linux; undefined elsewhere, or if there is no such process. */
function processOf(pid: number | 'self'): Process | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const end = stat.lastIndexOf(')')
    const fields = stat.slice(end + 2).split(' ')
    return {
      name: stat.slice(stat.indexOf('(') + 1, end),
      parent: Number(fields[1]),
      session: Number(fields[3]),
    }
  } catch {
    return undefined
  }
}

/**
 * The processes between this one and npm: npm itself, or a shell and npm. They change when one of
 * them ends.
 */
function line(): string {
  const parent = processOf(process.ppid)
  return `${process.ppid} ${parent !== undefined && SHELLS.has(parent.name) ? parent.parent : ''}`
}

/**
 * npm and npx end at once on SIGTERM and tell the program that they run nothing of it. Calls `gone`
 * when the one that started this process has ended. Undefined, and never called: it was not npm, or
 * nobody could tell, since the parent is the first process of a container, or this one has a
 * session of its own (`setsid`), which somebody has given to it on purpose.
 */
export function watchParent(
  env: Readonly<Record<string, string | undefined>>,
  gone: () => void,
): Disposable | undefined {
  const byNpm =
    env['npm_execpath'] !== undefined ||
    env['npm_command'] !== undefined ||
    env['npm_lifecycle_event'] !== undefined
  if (!byNpm || process.ppid <= 1 || processOf('self')?.session === process.pid) return undefined
  const first = line()
  const timer = setInterval(() => {
    if (line() === first) return
    clearInterval(timer)
    gone()
  }, EVERY_MS)
  return { [Symbol.dispose]: () => clearInterval(timer) }
}

import { printable } from '../src/lib/text.ts'

export interface Progress {
  readonly label: string
  readonly done: number
  readonly total: number
}

/** On a terminal: lines that scroll above bars that move. Elsewhere: plain lines. */
export interface View {
  /** Text of unknown origin must go through `shown` first. */
  say(text: string): void
  progress(bars: readonly Progress[]): void
  end(): void
}

/** Escapes control characters and cuts. */
export function shown(text: string, longest = 60): string {
  return printable(text, longest)
}

const WIDTH = 40

function bar({ label, done, total }: Progress): string {
  const filled = total === 0 ? WIDTH : Math.min(WIDTH, Math.round((done / total) * WIDTH))
  return `  ${label.padEnd(24)} ${'█'.repeat(filled)}${'░'.repeat(WIDTH - filled)} ${done}/${total}`
}

export function createView(stream: NodeJS.WriteStream): View {
  return stream.isTTY ? liveView(stream) : plainView(stream)
}

function plainView(stream: NodeJS.WriteStream): View {
  let quarter = ''
  return {
    say: (text) => void stream.write(`${text}\n`),
    progress: (bars) => {
      const now = bars.map(({ done, total }) => Math.floor((4 * done) / Math.max(total, 1))).join()
      if (now === quarter) return
      quarter = now
      stream.write(
        `  ${bars.map(({ label, done, total }) => `${label} ${done}/${total}`).join(', ')}\n`,
      )
    },
    end: () => {},
  }
}

function liveView(stream: NodeJS.WriteStream): View {
  let drawn: readonly string[] = []
  const erase = (): void => {
    if (drawn.length > 0) stream.write(`\u001b[${drawn.length}A\u001b[0J`)
  }
  const draw = (lines: readonly string[]): void => {
    drawn = lines
    if (lines.length > 0) stream.write(`${lines.join('\n')}\n`)
  }
  return {
    say: (text) => {
      erase()
      stream.write(`${text}\n`)
      draw(drawn)
    },
    progress: (bars) => {
      erase()
      draw(bars.map(bar))
    },
    end: () => {
      drawn = []
    },
  }
}

/** In one line, without addresses that may have a password. */
export function reasonOf(error: unknown): string {
  // What failed first counts, and not that nothing could be removed afterwards.
  if (error instanceof SuppressedError) return reasonOf(error.suppressed)
  if (error instanceof AggregateError && error.message === '')
    return error.errors.map(reasonOf).join(', ')
  const text = error instanceof Error ? error.message : String(error)
  return (text.split('\n')[0] ?? '').replaceAll(/\/\/[^\s/]*@/g, '//***@')
}

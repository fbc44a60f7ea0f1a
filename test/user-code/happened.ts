import { setImmediate as nextTurn } from 'node:timers'
import { type EventType, event } from '../../src/index.ts'

interface Body {
  readonly tag: string
}

const isBody = (value: unknown): value is Body =>
  typeof (value as { tag?: unknown } | null)?.tag === 'string'

const refusal = { issues: [{ message: 'a tag is a text' }] }

export const Happened: EventType<Body> = event<Body>('programs.happened', {
  '~standard': {
    version: 1,
    vendor: 'test',
    validate: (value: unknown) => (isBody(value) ? { value } : refusal),
  },
})

/** Its schema waits for some turns. */
export const SlowlyHappened: EventType<Body> = event<Body>('programs.happened', {
  '~standard': {
    version: 1,
    vendor: 'test',
    async validate(value: unknown) {
      for (let turn = 0; turn < 8; turn++)
        await new Promise<void>((resolve) => void nextTurn(resolve))
      return isBody(value) ? { value } : refusal
    },
  },
})

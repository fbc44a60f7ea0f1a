import { describe, expect, test } from 'vitest'
import { Mersal, type MersalOptions, runUntilSignal } from '../../../src/index.ts'
import { manualClock } from '../../../src/testing/index.ts'
import { fakeTransport } from '../support/fake-transport.ts'

/** What the promise was rejected with. */
async function failureOf(promise: Promise<unknown>): Promise<Error> {
  const [result] = await Promise.allSettled([promise])
  if (result.status === 'fulfilled') throw new Error('expected a failure')
  return result.reason as Error
}

function appWith(options: Partial<MersalOptions<undefined>>) {
  const transport = fakeTransport()
  const app = new Mersal({ name: 'shop', transport, logger: false, ...options })
  return { app, transport }
}

describe('the hooks of an app', () => {
  test('run in order: at the start before anything is declared, at the stop after the end', async () => {
    const steps: string[] = []
    const { app, transport } = appWith({
      onStart: [
        async () => {
          await Promise.resolve()
          steps.push(`first, ${transport.subscriptions.length} queues`)
        },
        () => steps.push('second'),
      ],
      onStop: [
        () => steps.push(`third, transport closed: ${transport.disposed}`),
        () => steps.push('fourth'),
      ],
    })
    await app.start()
    expect(steps).toEqual(['first, 0 queues', 'second'])
    expect(transport.subscriptions).toEqual(['shop'])
    await app.stop()
    await app.stop()
    expect(steps.slice(2)).toEqual(['third, transport closed: true', 'fourth'])
  })

  test('at the start: one that throws fails the start, and what is open is closed again', async () => {
    const steps: string[] = []
    const { app, transport } = appWith({
      onStart: [() => Promise.reject(new Error('no licence')), () => steps.push('never')],
      onStop: [() => steps.push('closed')],
    })
    expect((await failureOf(app.start())).message).toBe('no licence')
    expect(transport.disposed).toBe(true)
    expect(transport.subscriptions).toEqual([])
    await app.stop()
    expect(steps).toEqual(['closed'])
  })

  test('at the start: a stop does not wait for one that hangs, and its signal aborts', async () => {
    const { promise: begun, resolve } = Promise.withResolvers<AbortSignal>()
    const { app } = appWith({
      onStart: [
        ({ signal }) => {
          resolve(signal)
          return new Promise(() => {})
        },
      ],
    })
    const started = failureOf(app.start())
    const signal = await begun
    await app.stop()
    expect(await started).toMatchObject({ code: 'MERSAL_APP_STOPPED' })
    expect(signal.aborted).toBe(true)
  })

  test('at the stop: all run, the first error is thrown and each is logged', async () => {
    const logged: unknown[] = []
    const keep = (fields: object) => void logged.push(fields)
    const logger = { debug() {}, info() {}, warn() {}, error: keep }
    const steps: string[] = []
    const { app } = appWith({
      logger,
      onStop: [
        () => Promise.reject(new Error('one')),
        () => steps.push('two'),
        () => Promise.reject(new Error('three')),
      ],
    })
    await app.start()
    expect((await failureOf(app.stop())).message).toBe('one')
    expect(app.state).toBe('stopped')
    expect(steps).toEqual(['two'])
    expect(logged).toMatchObject([{ error: 'Error: one' }, { error: 'Error: three' }])
  })

  test('at the stop: one that hangs is left behind two seconds after the grace period', async () => {
    const clock = manualClock()
    const { promise: begun, resolve } = Promise.withResolvers<AbortSignal>()
    const { app } = appWith({
      clock,
      onStop: [
        ({ signal }) => {
          resolve(signal)
          return new Promise(() => {})
        },
      ],
    })
    await app.start()
    const stopped = failureOf(app.stop({ graceMs: 1000 }))
    const signal = await begun
    await clock.advance(2999)
    expect(signal.aborted).toBe(false)
    await clock.advance(1)
    expect(await stopped).toMatchObject({ code: 'MERSAL_STOP_TIMEOUT' })
    expect(signal.aborted).toBe(true)
  })

  test.each([
    ['onStart', 'close', 'onStart: expected an array of functions'],
    ['onStop', [() => {}, 'x'], 'onStop[1]: expected a function, got string'],
  ])('%s: %j is refused', (field, value, text) => {
    expect(() => appWith({ [field]: value as never })).toThrow(text)
  })
})

function fakeHost() {
  const listeners = new Map<string, () => void>()
  return {
    host: {
      exitCode: undefined as number | undefined,
      on: (signal: string, listener: () => void) => void listeners.set(signal, listener),
      off: (signal: string) => void listeners.delete(signal),
      exit: (): void => {},
    },
    raise: () => listeners.get('SIGTERM')?.(),
    listeners,
  }
}

describe('several apps', () => {
  test('run together until a signal comes', async () => {
    const { host, raise, listeners } = fakeHost()
    const [one, two] = [appWith({ name: 'one' }), appWith({ name: 'two' })]
    const running = runUntilSignal([one.app, two.app], { host })
    await Promise.all([one.app.start(), two.app.start()])
    raise()
    expect(await running).toBe(0)
    expect([one.app.state, two.app.state]).toEqual(['stopped', 'stopped'])
    expect(listeners.size).toBe(0)
  })

  test('if one cannot start, the others are stopped and its error is thrown', async () => {
    const { host, listeners } = fakeHost()
    const good = appWith({ name: 'good' })
    const bad = appWith({ name: 'bad', onStart: [() => Promise.reject(new Error('bad key'))] })
    const failure = await failureOf(runUntilSignal([good.app, bad.app], { host }))
    expect(failure.message).toBe('bad key')
    expect(good.app.state).toBe('stopped')
    expect(good.transport.disposed).toBe(true)
    expect(listeners.size).toBe(0)
  })

  test('one that does not stop gracefully makes exit code 1, and all are stopped', async () => {
    const { host, raise } = fakeHost()
    const written: string[] = []
    const fails = appWith({ onStop: [() => Promise.reject(new Error('disk'))] })
    const good = appWith({ name: 'good' })
    const report = (text: string) => void written.push(text)
    const running = runUntilSignal([fails.app, good.app], { host, report })
    await Promise.all([fails.app.start(), good.app.start()])
    raise()
    expect(await running).toBe(1)
    expect(written).toEqual(['Error: disk'])
    expect(good.app.state).toBe('stopped')
  })

  test('none is refused', async () => {
    expect(await failureOf(runUntilSignal([]))).toMatchObject({ code: 'MERSAL_INVALID_OPTIONS' })
  })
})

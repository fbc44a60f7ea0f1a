import { getEventListeners } from 'node:events'
import { describe, expect, test } from 'vitest'
import { abortable, endedOrAborted, linkAbort } from '../../../src/lib/async/linked-abort.ts'

describe('linked signals', () => {
  test('abort with any of the others, and with its reason', () => {
    const [one, two] = [new AbortController(), new AbortController()]
    using link = linkAbort(one.signal, undefined, two.signal)
    expect(link.signal.aborted).toBe(false)
    two.abort('why')
    expect(link.signal.reason).toBe('why')
  })

  test('are aborted from the beginning if one of the others is', () => {
    using link = linkAbort(AbortSignal.abort('before'))
    expect(link.signal.reason).toBe('before')
  })

  test('let go of the others when disposed', () => {
    const one = new AbortController()
    const link = linkAbort(one.signal)
    link[Symbol.dispose]()
    one.abort()
    expect(link.signal.aborted).toBe(false)
    link.abort('own')
    expect(link.signal.reason).toBe('own')
  })
})

describe('a link to another link', () => {
  test('aborts with its reason, makes no signal of it, and lets go of it', () => {
    const one = linkAbort()
    const spared = {
      aborted: one.aborted,
      reason: 'why',
      get signal(): AbortSignal {
        throw new Error('nobody has asked for a signal')
      },
      follow: one.follow.bind(one),
      forget: one.forget.bind(one),
    }
    const [kept, letGo] = [linkAbort(spared), linkAbort(undefined, spared)]
    letGo[Symbol.dispose]()
    one.abort('why')
    expect([kept.aborted, kept.reason, letGo.aborted]).toEqual([true, 'why', false])
    expect(linkAbort(one).aborted).toBe(true)
  })
})

describe('what follows a linked signal', () => {
  test('is called once, at once if it is too late, and not after it was forgotten', () => {
    using link = linkAbort()
    const seen: string[] = []
    const forgotten = (): void => void seen.push('forgotten')
    link.follow(forgotten)
    link.follow(() => void seen.push(`before: ${String(link.reason)}`))
    link.forget(forgotten)
    link.abort('why')
    link.abort('again')
    link.follow(() => void seen.push('late'))
    expect(seen).toEqual(['before: why', 'late'])
  })

  test('a signal that is asked for afterwards is aborted for the same reason', () => {
    using link = linkAbort()
    link.abort('why')
    expect([link.aborted, link.signal.aborted, link.signal.reason]).toEqual([true, true, 'why'])
    expect(() => link.throwIfAborted()).toThrow('why')
  })
})

describe('work under a signal', () => {
  test('gives its result or its error', async () => {
    const { signal } = new AbortController()
    expect(await abortable(signal, () => 1)).toBe(1)
    expect(await abortable(undefined, () => Promise.resolve(2))).toBe(2)
    await expect(abortable(signal, () => Promise.reject(new Error('work')))).rejects.toThrow('work')
  })

  test('is not begun under an aborted signal', async () => {
    let begun = false
    await expect(
      abortable(AbortSignal.abort(new Error('before')), () => (begun = true)),
    ).rejects.toThrow('before')
    expect(begun).toBe(false)
  })

  test('ends when the signal aborts; what the work throws later is told', async () => {
    const controller = new AbortController()
    const work = Promise.withResolvers<void>()
    const late = Promise.withResolvers<unknown>()
    const running = abortable(controller.signal, () => work.promise, late.resolve)
    controller.abort(new Error('enough'))
    await expect(running).rejects.toThrow('enough')
    work.reject(new Error('later'))
    expect(await late.promise).toMatchObject({ message: 'later' })
  })
})

describe('waiting for work or a signal', () => {
  test('ends with the work, throws its error, and leaves nothing at the signal', async () => {
    const { signal } = new AbortController()
    await endedOrAborted(Promise.resolve(1), signal)
    await expect(endedOrAborted(Promise.reject(new Error('work')), signal)).rejects.toThrow('work')
    expect(getEventListeners(signal, 'abort')).toEqual([])
  })

  test('ends with the signal, whatever becomes of the work', async () => {
    const controller = new AbortController()
    const work = Promise.withResolvers<void>()
    const waiting = endedOrAborted(work.promise, controller.signal)
    controller.abort()
    await waiting
    work.reject(new Error('later'))
    await endedOrAborted(new Promise(() => {}), AbortSignal.abort())
  })
})

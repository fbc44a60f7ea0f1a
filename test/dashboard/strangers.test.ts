import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { dashboard } from '../../src/dashboard/index.ts'
import type { Store } from '../../src/index.ts'
import { memoryStore } from '../../src/memory.ts'
import { kill, message, save } from '../unit/dashboard/support.ts'
import { axe, type Browser, browserIsHere, openBrowser, openPage } from './browser.ts'
import { listen, TOKEN } from './shop.ts'

const unauthorized = /401 \(Unauthorized\)/

/** A store with dead letters, and its dashboard. */
async function open(options: Partial<Parameters<typeof dashboard>[0]>) {
  const store = memoryStore() as unknown as Store<never>
  await store.open()
  await save(store, message('canary of a body'), message('b'))
  await kill(store)
  const ui = dashboard({
    stores: { main: store },
    allow: ['retry', 'discard', 'pause'],
    logger: false,
    ...options,
  })
  const web = await listen((request, response) => void ui.node(request, response))
  return { store, address: web.address, [Symbol.asyncDispose]: () => web[Symbol.asyncDispose]() }
}

describe.skipIf(!browserIsHere())('strangers', () => {
  let browser: Browser
  beforeAll(async () => {
    browser = await openBrowser()
  })
  afterAll(() => browser?.close())

  test('without the token see a door and nothing else, and with it they are in', async () => {
    await using shown = await open({ token: TOKEN })
    const { page, troubles } = await openPage(browser, shown.address, { expected: unauthorized })
    await page.waitForSelector('input[type="password"]')
    expect(await page.innerText('body')).not.toMatch(/main|orders|canary/)
    expect(await axe(page)).toEqual([])
    await page.fill('input', 'a-token-of-nobody')
    await page.click('text=Come in')
    await page.waitForSelector('text=This is not the token.')
    await page.fill('input', TOKEN)
    await page.click('text=Come in')
    await page.waitForSelector('.figure')
    await page.reload()
    await page.waitForSelector('.figure')
    expect(troubles).toEqual([])
    await page.close()
  })

  test('whom access does not let in are told so', async () => {
    await using shown = await open({ access: () => false })
    const { page } = await openPage(browser, shown.address, { expected: /403/ })
    expect(await page.innerText('body')).toContain('You may not see this dashboard.')
    await page.close()
  })

  test.each([
    ['of another port', '127.0.0.1'],
    ['of another name', 'localhost'],
  ])('a page %s changes nothing, reads nothing and frames nothing', async (_, name) => {
    // The worst case: whoever asks is let in, as with a cookie that a browser sends by itself.
    await using shown = await open({ access: () => true })
    await using evil = await listen((_, response) => {
      response.setHeader('content-type', 'text/html')
      response.end(`<iframe src="${shown.address}/"></iframe><form method="post" enctype="text/plain"
        action="${shown.address}/api/dead/discard"><input name='{"source":"main","all":true,"x":"'
        value='"}'></form>`)
    })
    const { page } = await openPage(browser, evil.address.replace('127.0.0.1', name), {
      expected: /./,
    })
    const tried = await page.evaluate<readonly string[]>(`(async () => {
      const url = '${shown.address}/api/dead/discard'
      const body = JSON.stringify({ source: 'main', all: true })
      const json = { 'content-type': 'application/json' }
      const ways = [
        fetch(url, { method: 'POST', body, mode: 'no-cors', credentials: 'include' }),
        fetch(url, { method: 'POST', body, headers: json, credentials: 'include' }),
        fetch(url, { method: 'POST', body: new Blob([body], { type: 'application/json' }) }),
        fetch('${shown.address}/api/dead?source=main', { credentials: 'include' }),
        navigator.sendBeacon(url, body),
      ]
      const told = await Promise.allSettled(ways)
      return told.map(({ status, value }) => value?.type ?? status)
    })()`)
    expect(tried).toEqual(['rejected', 'rejected', 'rejected', 'rejected', 'fulfilled'])
    expect(page.frames().map((frame) => frame.url())[1]).toMatch(/^chrome-error:/)
    await page.evaluate('document.forms[0].submit()')
    await page.waitForSelector('text=/not-json|foreign-origin/')
    expect(await shown.store.admin.stats()).toMatchObject({ dead: 2 })
    await page.close()
  })
})

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { serverAnswers } from '../postgres/database.ts'
import { rabbitIsHere } from '../rabbitmq/broker.ts'
import {
  axe,
  type Browser,
  browserIsHere,
  openBrowser,
  openPage,
  shotPath,
  type Watched,
} from './browser.ts'
import { openShop, order, type Shop, trade } from './shop.ts'

const here = browserIsHere() && (await serverAnswers()) && (await rabbitIsHere())

describe.skipIf(!here)('the page in Chromium', () => {
  let shop: Shop
  let browser: Browser
  let watched: Watched
  let orders: readonly string[]

  beforeAll(async () => {
    ;[shop, browser] = await Promise.all([openShop(), openBrowser()])
    orders = await trade(shop)
    watched = await openPage(browser, shop.link)
  })
  afterAll(async () => {
    await browser?.close()
    await shop?.[Symbol.asyncDispose]()
  })

  const figure = (source: string, name: string) =>
    `section[aria-label="${source}"] .figure:has(.figure-name:text-is("${name}")) .figure-value`
  const shows = (selector: string, text: string) =>
    watched.page.waitForSelector(`${selector}:text-is("${text}")`)
  const open = (name: string) => watched.page.click(`nav >> text="${name}"`)

  test('takes the token out of the address, and shows figures of each app', async () => {
    const { page } = watched
    await shows(figure('shop', 'Dead, outgoing'), '4')
    await shows(figure('billing', 'Dead, incoming'), '2')
    expect(page.url()).toBe(`${shop.address}/#/overview`)
    expect(await page.innerText('aside')).toContain('may: retry, discard, pause, bodies')
  })

  test('is live: what is sent shows itself in figures and curves', async () => {
    const { page } = watched
    await page.waitForSelector('.link-state:has-text("live")')
    const waiting = Number(await page.innerText(figure('shop', 'Waiting')))
    await order(shop, 'order-4')
    await page.waitForSelector('section[aria-label="shop"] .rate.added b:not(:text-is("0"))')
    // A line without height counts as hidden.
    await page.waitForSelector('section[aria-label="shop"] .curve-added', { state: 'attached' })
    // The timeout of its saga waits from now on.
    await shows(figure('shop', 'Waiting'), String(waiting + 1))
    await page.screenshot({ path: shotPath('overview'), fullPage: true })
  })

  test('shows the outbox by destination and key, and leads to what holds a key back', async () => {
    const { page } = watched
    await refuseOne(shop)
    await open('Outbox')
    const row = '[aria-label="By destination"] tr:has-text("default/queue/nowhere")'
    expect(await page.innerText(row)).toMatch(/nowhere\s+1\s/)
    await page.click('[aria-label="Refused so far"] summary:has-text("the second time")')
    const attempts = await page.innerText('[aria-label="Refused so far"] .attempts')
    for (const text of ['no way in', 'caused by', 'the bank is shut'])
      expect(attempts).toContain(text)
    await page.screenshot({ path: shotPath('outbox'), fullPage: true })
    await page.click('[aria-label="By key"] tr:has-text("customer-7") >> text=held back')
    await page.waitForSelector('h1:has-text("Dead letters")')
    await page.waitForSelector('tbody tr:has-text("customer-7")')
    expect(await page.locator('tbody tr').count()).toBe(1)
  })

  test('shows a letter of the outbox and one of a queue, and runs nothing of it', async () => {
    const { page } = watched
    await page.click('tbody a')
    await page.waitForSelector('h3:has-text("Body")')
    const outgoing = await page.innerText('main')
    expect(await page.locator('.attempts li').count()).toBe(1)
    for (const text of ['orders.export', 'unroutable', 'holds back its key', '"n": 4', '<img src'])
      expect(outgoing).toContain(text)
    await open('Dead letters')
    await page.selectOption('label:has-text("App or store") select', 'billing')
    await page.selectOption('label:has-text("Dead letters") select', '["billing","default"]')
    await page.click('tbody a >> nth=0')
    await page.waitForSelector('.causes >> text=the bank is shut')
    const incoming = await page.innerText('main')
    for (const text of ['no refund for order-', '<script>', 'U+001B', 'U+202E', '"orderId"'])
      expect(incoming).toContain(text)
    expect(await page.evaluate('typeof window.hacked')).toBe('undefined')
    expect(await page.locator('main img, main script').count()).toBe(0)
    await page.screenshot({ path: shotPath('letter'), fullPage: true })
  })

  test('finds, retries in a batch, and discards all that match', async () => {
    const { page } = watched
    await open('Dead letters')
    await page.waitForSelector('tbody tr >> nth=3')
    await page.screenshot({ path: shotPath('dead'), fullPage: true })
    await page.check('tbody tr:nth-child(1) input')
    await page.check('tbody tr:nth-child(2) input')
    await page.click('role=button[name="Retry 2"]')
    await page.click('dialog >> role=button[name="Retry"]')
    await page.waitForSelector('[role="status"]:has-text("retried 2")')
    await page.fill('role=searchbox', 'CUSTOMER-7')
    await page.click('role=button[name="Search"]')
    await page.waitForSelector('tbody tr >> nth=1', { state: 'detached' })
    await page.click('text=Discard all that match')
    await page.click('dialog >> role=button[name="Discard"]')
    await page.waitForSelector('[role="status"]:has-text("discarded 1")')
    // The one behind it goes on, and dies as those do that were retried.
    await open('Overview')
    await shows(figure('shop', 'Dead, outgoing'), '4')
  })

  test('pauses and resumes a destination', async () => {
    const { page } = watched
    await open('Pauses')
    await page.fill('label:has-text("Name") input', 'default/queue/billing')
    await page.fill('label:has-text("Reason") input', 'the bank asks for it')
    await page.click('role=button[name="Pause …"]')
    await page.click('dialog >> role=button[name="Pause"]')
    await page.waitForSelector('tr:has-text("the bank asks for it")')
    await page.screenshot({ path: shotPath('pauses'), fullPage: true })
    await open('Overview')
    await shows(figure('shop', 'Paused'), '1')
    await open('Pauses')
    await page.click('role=button[name="Resume default/queue/billing"]')
    await page.click('dialog >> role=button[name="Resume"]')
    await page.waitForSelector('text=Nothing is paused.')
  })

  test('shows sagas with their state', async () => {
    const { page } = watched
    await open('Sagas')
    await page.click('tbody a:has-text("order-1")')
    await page.waitForSelector('.badge:has-text("unpaid")')
    expect(await page.innerText('pre')).toContain('<img src=x')
    await page.screenshot({ path: shotPath('saga'), fullPage: true })
  })

  test('draws the way of a message, from any message of it', async () => {
    const { page } = watched
    await open('Way of a message')
    await page.fill('label:has-text("Correlation id") input', orders[0]!)
    await page.click('role=button[name="Show its way"]')
    await page.waitForSelector('.way > li:has-text("billing.bill"):has-text("handled")')
    const way = await page.innerText('.way')
    for (const text of ['orders.place', 'orders.placed', 'received from billing'])
      expect(way).toContain(text)
    const last = await page.innerText('.way > li:has-text("billing.bill") code')
    expect(await page.locator('.node').count()).toBeGreaterThanOrEqual(3)
    await page.click('.node >> nth=1')
    await page.screenshot({ path: shotPath('way'), fullPage: true })
    await page.fill('label:has-text("Correlation id") input', last)
    await page.click('role=button[name="Show its way"]')
    await page.waitForSelector('.way > li:has-text("orders.place")')
  })

  test('asks nothing elsewhere, and has had no error', () => {
    expect(watched.troubles).toEqual([])
  })

  test('has no fault that axe finds, on any page, in both themes and on a narrow screen', async () => {
    const { page } = watched
    const letter = `dead/letter?source=shop&key=${await firstKey(shop)}`
    const found: Record<string, readonly string[]> = {}
    const places = ['overview', 'outbox', 'dead', letter, 'pauses', 'sagas', 'nowhere'] as const
    const all = [...places, 'sagas/instance?source=shop&app=shop&saga=order&key=order-1']
    for (const [width, colorScheme] of [
      [1280, 'light'],
      [340, 'dark'],
    ] as const) {
      await page.setViewportSize({ width, height: 900 })
      await page.emulateMedia({ colorScheme })
      for (const place of [...all, `way?id=${orders[0]}`]) {
        await page.goto(`${shop.address}/#/${place}`)
        await page.waitForSelector('main :is(.panel, .notice, .empty)')
        const [name = ''] = place.split('?')
        const troubles = await axe(page)
        const wide = await page.evaluate<number>('document.documentElement.scrollWidth')
        if (wide > width) found[`${name} ${width}`] = [`is ${wide} wide`]
        if (troubles.length > 0) found[`${name} ${width} ${colorScheme}`] = troubles
        if (width === 340)
          await page.screenshot({ path: shotPath(`narrow-${name.replace('/', '-')}`) })
      }
    }
    expect(found).toEqual({})
  })
})

async function firstKey({ address, link }: Shop): Promise<string> {
  const headers = { authorization: `Bearer ${link.split('=')[1]}` }
  const answer = await fetch(`${address}/api/dead?source=shop`, { headers })
  const { letters } = (await answer.json()) as { readonly letters: readonly { key: string }[] }
  return letters[0]!.key
}

/** As if the one that is held back had been tried before. */
async function refuseOne({ tables: { shop } }: Shop): Promise<void> {
  const history = ['no way in; caused by Error: the bank is shut', 'the second time'].map(
    (error, index) => ({ attempt: index + 1, at: Date.now(), code: 'none', error }),
  )
  await shop.query(
    `update ${shop.schema}.outbox set attempts = 2, history = $1 where key = 'customer-7' and died_at is null`,
    [JSON.stringify(history)],
  )
}

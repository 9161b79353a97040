/*
 * ServiceNow: tell Upkeep that a change has changed. It signs as Standard Webhooks asks (HMAC-SHA256 over id.timestamp.body).
 *
 * Business Rule on Change Request [change_request]: advanced, when: async, insert and update, condition:
 *   current.state.changes() || current.approval.changes() || current.on_hold.changes() ||
 *   current.start_date.changes() || current.end_date.changes()
 * Leave work notes out of the condition: Upkeep writes work notes, and they would tell it of itself.
 *
 * System properties: upkeep.webhook.url     https://upkeep.acme.example/webhooks/servicenow
 *                    upkeep.webhook.secret  type password2; the text after `whsec_` in Upkeep's secret file (base64 of 32 random bytes):
 *                                           echo "whsec_$(openssl rand -base64 32)"
 * The user that Upkeep signs in as needs to read change_request, task_ci, cmdb_ci and sys_journal_field, and to write change_request.
 */
(function executeRule(current, previous) {
    var url = gs.getProperty('upkeep.webhook.url');
    var key = gs.getProperty('upkeep.webhook.secret'); // base64, as generateMac takes its key
    var id = gs.generateGUID();
    var timestamp = String(Math.floor(new GlideDateTime().getNumericValue() / 1000));
    var body = JSON.stringify({ ticket: String(current.number), state: String(current.state), id: id });

    var mac = new GlideCertificateEncryption().generateMac(key, 'HmacSHA256', id + '.' + timestamp + '.' + body);

    // A few attempts a minute apart; when all fail, the next change of the ticket tells Upkeep again.
    for (var attempt = 0; attempt < 3; attempt++) {
        var request = new sn_ws.RESTMessageV2();
        request.setHttpMethod('post');
        request.setEndpoint(url);
        request.setHttpTimeout(10000);
        request.setRequestHeader('Content-Type', 'application/json');
        request.setRequestHeader('webhook-id', id);
        request.setRequestHeader('webhook-timestamp', timestamp);
        request.setRequestHeader('webhook-signature', 'v1,' + mac);
        request.setRequestBody(body);
        try {
            var status = request.execute().getStatusCode();
            if (status < 500 && status !== 408 && status !== 429) {
                if (status >= 400) {
                    gs.error('Upkeep did not take change ' + current.number + ': ' + status);
                }
                return;
            }
        } catch (error) {
            gs.warn('Upkeep does not answer: ' + error);
        }
        gs.sleep(60000);
    }
    gs.error('Upkeep could not be told of change ' + current.number);
})(current, previous);

import com.rabbitmq.client.AMQP.BasicProperties;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.ConnectionFactory;
import io.debezium.embedded.Connect;
import io.debezium.engine.DebeziumEngine;
import io.debezium.engine.RecordChangeEvent;
import io.debezium.engine.format.ChangeEventFormat;
import java.io.FileInputStream;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import org.apache.kafka.connect.source.SourceRecord;

/**
 * Debezium's embedded engine with its outbox event router, publishing to RabbitMQ with confirms:
 * `java -cp 'jars/*' Relay.java <file with the properties of the engine> <address of the broker>`.
 * It ends when its standard input does.
 */
public final class Relay {
    private static final long CONFIRM_MS = 15_000;

    public static void main(String[] args) throws Exception {
        Properties properties = new Properties();
        try (FileInputStream file = new FileInputStream(args[0])) {
            properties.load(file);
        }
        ConnectionFactory factory = new ConnectionFactory();
        factory.setUri(args[1]);
        Connection connection = factory.newConnection();
        Channel channel = connection.createChannel();
        channel.confirmSelect();
        DebeziumEngine<RecordChangeEvent<SourceRecord>> engine =
                DebeziumEngine.create(ChangeEventFormat.of(Connect.class))
                        .using(properties)
                        .using((success, message, error) -> {
                            if (success) return;
                            System.err.println(message);
                            if (error != null) error.printStackTrace();
                        })
                        .notifying((records, committer) -> {
                            publish(channel, records);
                            for (RecordChangeEvent<SourceRecord> each : records) committer.markProcessed(each);
                            committer.markBatchFinished();
                        })
                        .build();
        ExecutorService executor = Executors.newSingleThreadExecutor();
        executor.execute(engine);
        while (System.in.read() >= 0) continue;
        engine.close();
        executor.shutdown();
        connection.close();
        System.exit(0);
    }

    /** The whole batch is written, and confirmed, before any of it is done. */
    private static void publish(Channel channel, List<RecordChangeEvent<SourceRecord>> records)
            throws InterruptedException {
        try {
            for (RecordChangeEvent<SourceRecord> each : records) {
                SourceRecord record = each.record();
                if (record.value() == null) continue;
                BasicProperties properties = new BasicProperties.Builder().deliveryMode(2)
                        .messageId(String.valueOf(record.headers().lastWithName("id").value())).build();
                channel.basicPublish("", record.topic(), true, properties, bytes(record.value()));
            }
            channel.waitForConfirmsOrDie(CONFIRM_MS);
        } catch (java.io.IOException | java.util.concurrent.TimeoutException error) {
            throw new IllegalStateException(error);
        }
    }

    private static byte[] bytes(Object value) {
        if (value instanceof byte[] array) return array;
        ByteBuffer buffer = ((ByteBuffer) value).duplicate();
        byte[] array = new byte[buffer.remaining()];
        buffer.get(array);
        return array;
    }
}
